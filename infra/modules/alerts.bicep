// What Azure tells the operators by e-mail. The app tells them of its work itself (ALERT_URL); this is for what it cannot tell,
// because it is down, or because ALERT_URL leads nowhere.

@description('Name of the installation and the suffix that makes names unique.')
param suffix string

@description('Region of the rules that read the log.')
param location string

@description('Tags put on every resource.')
param tags object

@description('E-mail address of the operators.')
param email string

@description('Id of the workspace that has the log of the app.')
param workspaceId string

@description('Id of the topic of events.')
param topicId string

@description('Id of the database.')
param databaseId string

@description('Amount a month, in the currency of the subscription, that the resource group may cost. 0: no budget.')
param monthlyBudget int

@description('First day of the month in which the budget was made.')
param budgetStart string

resource operators 'Microsoft.Insights/actionGroups@2023-01-01' = {
  name: 'ag-${suffix}'
  location: 'global'
  tags: tags
  properties: {
    groupShortName: 'sluice'
    enabled: true
    emailReceivers: [
      {
        name: 'operators'
        emailAddress: email
        useCommonAlertSchema: true
      }
    ]
  }
}

// ---- metrics of the platform

var metrics = [
  {
    name: 'events-failed' // one event, in an hour without the app
    description: 'Events of arrived files do not reach the app.'
    scope: topicId
    namespace: 'Microsoft.EventGrid/systemTopics'
    metric: 'DeliveryAttemptFailCount'
    aggregation: 'Total'
    above: 5
    window: 'PT1H'
    severity: 1
  }
  {
    name: 'events-dead-lettered'
    description: 'Events of arrived files became dead letters: the app was not reached for a day.'
    scope: topicId
    namespace: 'Microsoft.EventGrid/systemTopics'
    metric: 'DeadLetteredCount'
    aggregation: 'Total'
    above: 0
    window: 'PT15M'
    severity: 1
  }
  {
    name: 'sql-log-rate'
    description: 'For an hour the database has written its log as fast as it may: loading is limited by sqlMaxVCores.'
    scope: databaseId
    namespace: 'Microsoft.Sql/servers/databases'
    metric: 'log_write_percent'
    aggregation: 'Average'
    above: 90
    window: 'PT1H'
    severity: 3
  }
]

resource metricAlerts 'Microsoft.Insights/metricAlerts@2018-03-01' = [
  for alert in metrics: {
    name: '${suffix}-${alert.name}'
    location: 'global'
    tags: tags
    properties: {
      description: alert.description
      severity: alert.severity
      enabled: true
      scopes: [alert.scope]
      evaluationFrequency: 'PT5M'
      windowSize: alert.window
      criteria: {
        'odata.type': 'Microsoft.Azure.Monitor.SingleResourceMultipleMetricCriteria'
        allOf: [
          {
            criterionType: 'StaticThresholdCriterion'
            name: alert.name
            metricNamespace: alert.namespace
            metricName: alert.metric
            operator: 'GreaterThan'
            threshold: alert.above
            timeAggregation: alert.aggregation
          }
        ]
      }
      actions: [
        {
          actionGroupId: operators.id
        }
      ]
    }
  }
]

// ---- lines in the log of the app

var queries = [
  {
    name: 'runs-failed'
    description: 'A run of a feed failed.'
    query: 'AppTraces | where Message matches regex @"^[^ ]+: run [^ ]+ failed: "'
    operator: 'GreaterThan'
    threshold: 0
    window: 'PT15M'
    severity: 2
  }
  {
    name: 'events-poisoned'
    description: 'The host could not start jobs for files; the search of the next hour loads them.'
    query: 'AppTraces | where Message startswith "poisoned event: "'
    operator: 'GreaterThan'
    threshold: 0
    window: 'PT15M'
    severity: 2
  }
  {
    name: 'feeds-stale'
    description: 'A feed has had no data for longer than max_age_hours.'
    query: 'AppTraces | where Message matches regex @"^alert( was sent)?: [^ ]+ has had no data for "'
    operator: 'GreaterThan'
    threshold: 0
    window: 'PT15M'
    severity: 2
  }
  {
    name: 'alerts-lost'
    description: 'The app could not send an alert to ALERT_URL.'
    query: 'AppTraces | where Message startswith "alert was not sent: "'
    operator: 'GreaterThan'
    threshold: 0
    window: 'PT15M'
    severity: 2
  }
  {
    name: 'app-silent'
    description: 'The watchdog of the app has not run for an hour: the app does not start, or its timers do not fire.'
    query: 'AppRequests | where Name == "watchdog" and Success == true'
    operator: 'LessThan'
    threshold: 1
    window: 'PT1H'
    severity: 1
  }
]

resource logAlerts 'Microsoft.Insights/scheduledQueryRules@2022-06-15' = [
  for alert in queries: {
    name: '${suffix}-${alert.name}'
    location: location
    tags: tags
    properties: {
      displayName: '${suffix}-${alert.name}'
      description: alert.description
      severity: alert.severity
      enabled: true
      scopes: [workspaceId]
      evaluationFrequency: 'PT15M'
      windowSize: alert.window
      autoMitigate: true
      skipQueryValidation: true // a new workspace has no tables yet
      criteria: {
        allOf: [
          {
            query: alert.query
            timeAggregation: 'Count'
            operator: alert.operator
            threshold: alert.threshold
            failingPeriods: {
              numberOfEvaluationPeriods: 1
              minFailingPeriodsToAlert: 1
            }
          }
        ]
      }
      actions: {
        actionGroups: [operators.id]
      }
    }
  }
]

// ---- cost

resource budget 'Microsoft.Consumption/budgets@2023-11-01' = if (monthlyBudget > 0) {
  name: 'budget-${suffix}'
  properties: {
    category: 'Cost'
    amount: monthlyBudget
    timeGrain: 'Monthly'
    timePeriod: {
      startDate: budgetStart
    }
    notifications: {
      spent: {
        enabled: true
        operator: 'GreaterThan'
        threshold: 80
        thresholdType: 'Actual'
        contactEmails: [email]
      }
      forecast: {
        enabled: true
        operator: 'GreaterThan'
        threshold: 100
        thresholdType: 'Forecasted'
        contactEmails: [email]
      }
    }
  }
}
