// Logs: a workspace, and the component that the app sends its log to.

@description('Name of the installation and the suffix that makes names unique.')
param suffix string

@description('Region of the resources.')
param location string

@description('Tags put on every resource.')
param tags object

@description('Days that logs are kept.')
param retentionDays int

@description('Id of the identity of the app.')
param identityId string

@description('Principal of that identity.')
param principalId string

var metricsPublisher = '3913510d-42f4-4e42-8a64-420c390055eb' // a built-in role, the same in every tenant

resource logs 'Microsoft.OperationalInsights/workspaces@2022-10-01' = {
  name: 'log-${suffix}'
  location: location
  tags: tags
  properties: {
    retentionInDays: retentionDays
    sku: {
      name: 'PerGB2018'
    }
  }
}

resource insights 'Microsoft.Insights/components@2020-02-02' = {
  name: 'appi-${suffix}'
  location: location
  tags: tags
  kind: 'web'
  properties: {
    Application_Type: 'web'
    WorkspaceResourceId: logs.id
    DisableLocalAuth: true
  }
}

resource insightsAccess 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: insights
  name: guid(insights.id, identityId, metricsPublisher)
  properties: {
    description: 'Monitoring Metrics Publisher: the host sends the log of the app, signed in as its identity.'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', metricsPublisher)
    principalId: principalId
    principalType: 'ServicePrincipal'
  }
}

@description('Id of the workspace.')
output workspaceId string = logs.id

@description('Name of the component.')
output insightsName string = insights.name

@description('Where the host sends the log; it is no secret, as the component takes identities only.')
output connectionString string = insights.properties.ConnectionString
