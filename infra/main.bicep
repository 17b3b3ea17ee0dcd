// Everything Sluice runs on, in one resource group: a Flex Consumption function app, its storage account, an
// Azure SQL database, a key vault, Application Insights, alerts and a workbook. Nothing here has a password or a shared
// key: the app signs in everywhere with its own identity.
//
// It is deployed twice, because Event Grid sends events only to code that runs: first without eventSubscription, then the
// code, then with it. infra/deploy does that (docs/deploying.md); docs/template.md lists the parameters.

targetScope = 'resourceGroup'

@description('Short name of the installation: lower-case letters, digits, hyphens. Resource names begin with it.')
@minLength(2)
@maxLength(20)
param name string = 'sluice'

@description('Region of all resources. It must offer Flex Consumption.')
param location string = resourceGroup().location

@description('Python version of the function app.')
@allowed(['3.11', '3.12', '3.13'])
param pythonVersion string = '3.13'

@description('Memory of one instance of the function app, in MB. Processor share grows with it.')
@allowed([512, 2048, 4096])
param instanceMemoryMB int = 2048

@description('Maximum number of instances of the function app.')
@minValue(40)
@maxValue(1000)
param maximumInstanceCount int = 40

@description('Instances that are always ready, so that no job waits for a cold start. The memory of each is billed every second, used or not. 0: none.')
@minValue(0)
param alwaysReadyDurable int = 1

@description('The same for the function that receives events of arrived files. It only avoids the cold start.')
@minValue(0)
param alwaysReadyBlob int = 0

@description('Activities that one instance runs at a time. Keep it equal to maxConcurrentActivityFunctions in host.json.')
@minValue(1)
param threads int = 4

@description('Display name of the Entra user, group or application that administers the SQL server. Needed unless the server exists.')
param sqlAdminName string = ''

@description('Object id of that user or group; for an application, its client id. Needed unless the server exists.')
param sqlAdminObjectId string = ''

@description('What kind of principal the SQL administrator is.')
@allowed(['User', 'Group', 'Application'])
param sqlAdminType string = 'Group'

@description('Name of the database that receives the tables.')
param sqlDatabaseName string = 'sluice'

@description('Maximum vCores of the serverless database. Its log rate, which limits loading, grows with them up to 8.')
@minValue(1)
@maxValue(80)
param sqlMaxVCores int = 4

@description('Minutes without a query until the database pauses; -1 keeps it awake. The first call after a pause waits until the database has resumed.')
@minValue(-1)
@maxValue(10080)
param sqlAutoPauseMinutes int = 60

@description('Whether the audit of a new SQL server has every statement. It can contain values of rows, and is billed by volume. Sign-ins and changes of rights are always kept.')
param sqlAuditStatements bool = false

@description('Name of a SQL server to use instead of a new one. It needs a system-assigned identity, and must be in the same region. Its auditing and firewall stay as they are.')
param existingSqlServerName string = ''

@description('Resource group of that server.')
param existingSqlServerGroup string = resourceGroup().name

@description('Name of a storage account to use instead of a new one: general-purpose v2, in the same region. Only containers, a table and roles are added to it; its settings, lifecycle rules and networks stay as they are.')
param existingStorageName string = ''

@description('Resource group of that account.')
param existingStorageGroup string = resourceGroup().name

@description('Name of the Event Grid system topic that an existing storage account has already, in the resource group of the account. It needs a system-assigned identity. Empty: it has none.')
param existingTopicName string = ''

@description('Name of a key vault to use instead of a new one. It must use roles, not access policies; the app may read only the secrets that settings refer to.')
param existingKeyVaultName string = ''

@description('Resource group of that vault.')
param existingKeyVaultGroup string = resourceGroup().name

@description('Whether storage, database, vault and app are spread over three zones, which costs more, and needs a region with zones. Choose it at the first deployment: a storage account is not converted.')
param zoneRedundant bool = false

@description('Whether the app gets a virtual network, and storage, SQL server and vault private endpoints in it. New ones are then closed to public addresses, except for allowedAddresses and services that Azure trusts.')
param privateNetwork bool = false

@description('With privateNetwork: addresses of the network (CIDR). They must not overlap with networks that it is to be peered with.')
param networkPrefix string = '10.20.0.0/24'

@description('With privateNetwork: addresses within networkPrefix that the app calls from.')
param appSubnetPrefix string = '10.20.0.0/26'

@description('With privateNetwork: addresses within networkPrefix of the private endpoints.')
param endpointSubnetPrefix string = '10.20.0.64/26'

@description('With privateNetwork: whether calls to other systems come from one address that does not change, for sources that admit known addresses only. It is billed by the hour.')
param natGateway bool = false

@description('Public IPv4 addresses that may call the storage account, the SQL server and the vault if they are new: of operators, and with privateNetwork of the exporting system, too.')
param allowedAddresses array = []

@description('Object ids of Entra groups, users and service principals that may write files into the container for exports, such as the exporting system.')
param uploaders array = []

@description('Days that deleted blobs and containers can be restored.')
@minValue(1)
@maxValue(365)
param softDeleteDays int = 7

@description('Whether events of arrived files are sent to the app. The code must run before: false for the first deployment, then true.')
param eventSubscription bool = false

@description('Name of the Durable task hub. Jobs of the old hub do not continue in a new one: see docs/deploying.md.')
@minLength(3)
@maxLength(45)
param taskHubName string = 'sluicejobs'

@description('When to start the syncs that are due. Six fields, seconds first, UTC.')
param syncSchedule string = '0 */5 * * * *'

@description('When to search for files that no event announced. Six fields, seconds first, UTC.')
param reconcileSchedule string = '0 10 * * * *'

@description('When to search for late feeds and stuck jobs. Six fields, seconds first, UTC.')
param watchdogSchedule string = '0 */15 * * * *'

@description('When to tidy up the files of data lakes. Six fields, seconds first, UTC.')
param upkeepSchedule string = '0 40 2 * * *'

@description('Client of the CoolR system whose exports are loaded. Empty: the only one found.')
param coolrClient string = ''

@description('Comma-separated hosts that links in CoolR notifications may point to. Empty: notifications are refused.')
param coolrWebhookHosts string = ''

@description('Format of alerts for ALERT_URL: teams for a Teams workflow, slack for a Slack webhook, json for a Logic App.')
@allowed(['teams', 'slack', 'json'])
param alertFormat string = 'teams'

@description('Whether summaries are sent for all exports and syncs, or only for those with problems.')
@allowed(['all', 'problems'])
param alertOn string = 'all'

@description('E-mail address that Azure Monitor alerts: of failed runs, stale feeds, events that do not reach the app, an app that is silent, a database at its limit, and cost. Empty: nobody.')
param alertEmail string = ''

@description('Amount a month, in the currency of the subscription, that the resource group may cost. alertEmail gets a message at 80 %, and when the forecast exceeds it. 0: no budget.')
@minValue(0)
param monthlyBudget int = 0

@description('First day of the month in which the budget was first deployed: it cannot be changed afterwards. infra/deploy keeps it.')
param budgetStart string = utcNow('yyyy-MM-01')

@description('Power BI dataset that is refreshed after an export: <workspace id>/<dataset id>. Empty: none.')
param powerBiDataset string = ''

@description('Client id of the Entra app registration that people sign in to the status page with, see docs/status-page.md. Empty: nobody sees it.')
param statusClientId string = ''

@description('Settings that are secret, such as COOLR_WEBHOOK_SECRET, HUBSPOT_WEBHOOK_SECRET, ALERT_URL, DOWNSTREAM_URL, SFTP_PASSWORD, SNOWFLAKE_PRIVATE_KEY: name of the setting to the name of its secret in the key vault. Create the secret first.')
param secretSettings object = {}

@description('Further destinations of feeds, see docs/destinations.md: name of the destination, such as lake, to the name of the secret in the key vault that has the URL of its warehouse. Create the secret first.')
param destinationSecrets object = {}

@description('Further settings by name, see docs/settings.md. They override the settings in this template.')
param extraSettings object = {}

@description('Days that logs are kept, the audit of the SQL server and of the vault with them.')
@minValue(30)
@maxValue(730)
param logRetentionDays int = 90

@description('Tags put on every resource.')
param tags object = {}

var unique = uniqueString(resourceGroup().id, name)
var plain = take(toLower(replace(name, '-', '')), 9)
var suffix = '${name}-${unique}'

// What exists is used where it is; the rest is made here.
var storageName = empty(existingStorageName) ? 'st${plain}${unique}' : existingStorageName
var storageGroup = empty(existingStorageName) ? resourceGroup().name : existingStorageGroup
var sqlServerName = empty(existingSqlServerName) ? 'sql-${suffix}' : existingSqlServerName
var sqlServerGroup = empty(existingSqlServerName) ? resourceGroup().name : existingSqlServerGroup
var vaultName = empty(existingKeyVaultName) ? 'kv${plain}${unique}' : existingKeyVaultName
var vaultGroup = empty(existingKeyVaultName) ? resourceGroup().name : existingKeyVaultGroup
var topicName = empty(existingTopicName) ? 'evgt-${suffix}' : existingTopicName

// The app signs in everywhere as this identity.
resource identity 'Microsoft.ManagedIdentity/userAssignedIdentities@2023-01-31' = {
  name: 'id-${suffix}'
  location: location
  tags: tags
}

module telemetry 'modules/telemetry.bicep' = {
  name: 'telemetry'
  params: {
    suffix: suffix
    location: location
    tags: tags
    retentionDays: logRetentionDays
    identityId: identity.id
    principalId: identity.properties.principalId
  }
}

module newServer 'modules/server.bicep' = if (empty(existingSqlServerName)) {
  name: 'server'
  params: {
    serverName: sqlServerName
    location: location
    tags: tags
    adminName: sqlAdminName
    adminObjectId: sqlAdminObjectId
    adminType: sqlAdminType
    privateNetwork: privateNetwork
    allowedAddresses: allowedAddresses
    auditStatements: sqlAuditStatements
    workspaceId: telemetry.outputs.workspaceId
  }
}

module database 'modules/database.bicep' = {
  name: 'database'
  scope: resourceGroup(sqlServerGroup)
  params: {
    serverName: sqlServerName
    location: location
    tags: tags
    databaseName: sqlDatabaseName
    maxVCores: sqlMaxVCores
    autoPauseMinutes: sqlAutoPauseMinutes
    zoneRedundant: zoneRedundant
  }
  dependsOn: [
    newServer
  ]
}

module newAccount 'modules/account.bicep' = if (empty(existingStorageName)) {
  name: 'account'
  params: {
    accountName: storageName
    location: location
    tags: tags
    zoneRedundant: zoneRedundant
    privateNetwork: privateNetwork
    allowedAddresses: allowedAddresses
    softDeleteDays: softDeleteDays
    pageOrigin: empty(statusClientId) ? '' : 'https://func-${suffix}.azurewebsites.net' // of the app below
  }
}

module storage 'modules/storage.bicep' = {
  name: 'storage'
  scope: resourceGroup(storageGroup)
  params: {
    accountName: storageName
    identityId: identity.id
    principalId: identity.properties.principalId
    sqlServerId: database.outputs.serverId
    sqlPrincipalId: database.outputs.principalId
    uploaders: uploaders
  }
  dependsOn: [
    newAccount
  ]
}

module newVault 'modules/vault.bicep' = if (empty(existingKeyVaultName)) {
  name: 'vault'
  params: {
    vaultName: vaultName
    location: location
    tags: tags
    privateNetwork: privateNetwork
    allowedAddresses: allowedAddresses
    identityId: identity.id
    principalId: identity.properties.principalId
    workspaceId: telemetry.outputs.workspaceId
  }
}

module secrets 'modules/secrets.bicep' = if (!empty(existingKeyVaultName)) {
  name: 'secrets'
  scope: resourceGroup(vaultGroup)
  params: {
    vaultName: vaultName
    secretNames: secretNames
    identityId: identity.id
    principalId: identity.properties.principalId
  }
}

module network 'modules/network.bicep' = if (privateNetwork) {
  name: 'network'
  params: {
    suffix: suffix
    location: location
    tags: tags
    addressPrefix: networkPrefix
    appSubnetPrefix: appSubnetPrefix
    endpointSubnetPrefix: endpointSubnetPrefix
    natGateway: natGateway
    storageId: storage.outputs.id
    sqlServerId: database.outputs.serverId
    vaultId: resourceId(vaultGroup, 'Microsoft.KeyVault/vaults', vaultName)
  }
  dependsOn: [
    newVault
  ]
}

// ---- settings of the app -------------------------------------------------------------------------------------

// Runtime, version and scale are in functionAppConfig; Flex Consumption refuses the app settings of the same purpose.
var hostSettings = {
  AzureWebJobsStorage__credential: 'managedidentity'
  AzureWebJobsStorage__clientId: identity.properties.clientId
  AzureWebJobsStorage__blobServiceUri: storage.outputs.blobs
  AzureWebJobsStorage__queueServiceUri: storage.outputs.queues
  AzureWebJobsStorage__tableServiceUri: storage.outputs.tables
  ExportsStorage__credential: 'managedidentity'
  ExportsStorage__clientId: identity.properties.clientId
  ExportsStorage__blobServiceUri: storage.outputs.blobs
  ExportsStorage__queueServiceUri: storage.outputs.queues // a blob trigger does not start without it
  APPLICATIONINSIGHTS_CONNECTION_STRING: telemetry.outputs.connectionString
  APPLICATIONINSIGHTS_AUTHENTICATION_STRING: 'ClientId=${identity.properties.clientId};Authorization=AAD'
  AZURE_CLIENT_ID: identity.properties.clientId // which identity the app's own calls use
  PYTHON_THREADPOOL_THREAD_COUNT: string(threads)
  TASKHUB_NAME: taskHubName
  BLOB_TRIGGER_SOURCE: 'EventGrid' // the only source that Flex Consumption supports
  SYNC_SCHEDULE: syncSchedule
  RECONCILE_SCHEDULE: reconcileSchedule
  WATCHDOG_SCHEDULE: watchdogSchedule
  UPKEEP_SCHEDULE: upkeepSchedule
}

var sluiceSettings = {
  WAREHOUSE_URL: 'mssql://${identity.properties.clientId}@${database.outputs.host}/${sqlDatabaseName}?authentication=ActiveDirectoryMsi'
  LEDGER_URL: storage.outputs.tables
  STAGING_URL: '${storage.outputs.blobs}staging'
  EXPORTS_URL: '${storage.outputs.blobs}exports'
  STATE_URL: '${storage.outputs.blobs}state'
  DEAD_LETTER_URL: '${storage.outputs.blobs}dead-letters'
  COOLR_CLIENT: coolrClient
  COOLR_WEBHOOK_HOSTS: coolrWebhookHosts
  ALERT_FORMAT: alertFormat
  ALERT_ON: alertOn
  POWERBI_DATASET: powerBiDataset
  STATUS_SIGN_IN: empty(statusClientId) ? 'off' : 'entra'
}

// As JSON rather than by toObject() and filter(): these need lambdas, which the parsers of scanners do not read.
var secretReference = '@Microsoft.KeyVault(VaultName=${vaultName};SecretName='
var secretPairs = [for setting in items(secretSettings): '"${setting.key}":"${secretReference}${setting.value})"']
var destinationPairs = [for one in items(destinationSecrets): '"WAREHOUSE_URL_${toUpper(one.key)}":"${secretReference}${one.value})"']
var secretNames = [for one in items(union(secretSettings, destinationSecrets)): string(one.value)]
var secretReferences = json('{${join(secretPairs, ',')}}')
var destinationReferences = json('{${join(destinationPairs, ',')}}')

// It waits for its roles, which the modules above assign: it reads its code and its secrets as soon as it exists.
module app 'modules/app.bicep' = {
  name: 'app'
  params: {
    suffix: suffix
    location: location
    tags: tags
    identityName: identity.name
    packageUrl: '${storage.outputs.blobs}app-package'
    pythonVersion: pythonVersion
    instanceMemoryMB: instanceMemoryMB
    maximumInstanceCount: maximumInstanceCount
    alwaysReadyDurable: alwaysReadyDurable
    alwaysReadyBlob: alwaysReadyBlob
    zoneRedundant: zoneRedundant
    subnetId: privateNetwork ? network.outputs.appSubnetId : ''
    statusClientId: statusClientId
    // A deployment overwrites what was set by hand.
    settings: union(hostSettings, sluiceSettings, extraSettings, secretReferences, destinationReferences)
  }
  dependsOn: [
    newVault
    secrets
  ]
}

// ---- events, alerts, workbook --------------------------------------------------------------------------------

module events 'modules/events.bicep' = {
  name: 'events'
  scope: resourceGroup(storageGroup)
  params: {
    topicName: topicName
    existingTopic: !empty(existingTopicName)
    location: location
    tags: tags
    storageName: storageName
    exportsContainerName: 'exports'
    deadLettersContainerName: 'dead-letters'
    functionAppHost: app.outputs.host
    functionAppId: app.outputs.id
    subscribe: eventSubscription
  }
}

module alerts 'modules/alerts.bicep' = if (!empty(alertEmail)) {
  name: 'alerts'
  params: {
    suffix: suffix
    location: location
    tags: tags
    email: alertEmail
    workspaceId: telemetry.outputs.workspaceId
    topicId: events.outputs.topicId
    databaseId: database.outputs.databaseId
    monthlyBudget: monthlyBudget
    budgetStart: budgetStart
  }
}

module workbook 'modules/workbook.bicep' = {
  name: 'workbook'
  params: {
    location: location
    tags: tags
    workspaceId: telemetry.outputs.workspaceId
  }
}

@description('Name of the function app: the target of code deployment.')
output functionAppName string = app.outputs.name

@description('Python version of the function app: its package is built for it.')
output pythonVersion string = pythonVersion

@description('Id of the system topic of the storage account.')
output eventTopicId string = events.outputs.topicId

@description('Name of the identity that becomes a user of the database.')
output identityName string = identity.name

@description('Name of the SQL server.')
output sqlServerName string = sqlServerName

@description('Resource group of the SQL server.')
output sqlServerGroup string = sqlServerGroup

@description('Address of the SQL server.')
output sqlServerHost string = database.outputs.host

@description('Name of the database.')
output sqlDatabaseName string = sqlDatabaseName

@description('Name of the Application Insights component.')
output insightsName string = telemetry.outputs.insightsName

@description('Name of the storage account.')
output storageName string = storageName

@description('URL of the container for exports.')
output exportsUrl string = '${storage.outputs.blobs}exports'

@description('URL of the container for bulk loads.')
output stagingUrl string = '${storage.outputs.blobs}staging'

@description('URL of the operations API; each call needs a function key.')
output apiUrl string = 'https://${app.outputs.host}/api'

@description('URL for notifications of CoolR; it needs a key of the function coolr_webhook.')
output webhookUrl string = 'https://${app.outputs.host}/api/webhooks/coolr'

@description('URL for events of HubSpot; it needs a key of the function hubspot_webhook.')
output hubspotWebhookUrl string = 'https://${app.outputs.host}/api/webhooks/hubspot'

@description('Name of the key vault that holds the secrets of source systems.')
output keyVaultName string = vaultName
