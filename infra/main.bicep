// Everything Sluice runs on, in one resource group: a Flex Consumption function app, its storage account, an
// Azure SQL database, a key vault and Application Insights. Nothing here has a password or a shared key: the app
// signs in everywhere with its own identity.
//
// Deploy it twice, because Event Grid sends events only to code that runs: first without eventSubscription, then the
// code, then with it. docs/deploying.md has the commands.

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

@description('Display name of the Entra user, group or application that administers the SQL server.')
param sqlAdminName string

@description('Object id of that user or group; for an application, its client id.')
param sqlAdminObjectId string

@description('What kind of principal the SQL administrator is.')
@allowed(['User', 'Group', 'Application'])
param sqlAdminType string = 'Group'

@description('Name of the database that receives the tables.')
param sqlDatabaseName string = 'sluice'

@description('Maximum vCores of the serverless database. Its log rate, which limits loading, grows with them up to 8.')
param sqlMaxVCores int = 4

@description('Minutes without a query until the database pauses; -1 keeps it awake. The first call after a pause waits until the database has resumed.')
param sqlAutoPauseMinutes int = 60

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

@description('E-mail address that Azure Monitor alerts when events do not reach the app; the app cannot detect that itself. Empty: nobody.')
param alertEmail string = ''

@description('Power BI dataset that is refreshed after an export: <workspace id>/<dataset id>. Empty: none.')
param powerBiDataset string = ''

@description('Client id of the Entra app registration that people sign in to the status page with, see docs/status-page.md. Empty: nobody sees it.')
param statusClientId string = ''

@description('Settings that are secret, such as COOLR_WEBHOOK_SECRET, HUBSPOT_WEBHOOK_SECRET, ALERT_URL, DOWNSTREAM_URL, SFTP_PASSWORD: name of the setting to the name of its secret in the key vault. Create the secret first.')
param secretSettings object = {}

@description('Further destinations of feeds, see docs/destinations.md: name of the destination, such as lake, to the name of the secret in the key vault that has the URL of its warehouse. Create the secret first.')
param destinationSecrets object = {}

@description('Further settings by name, see docs/settings.md. They override the settings in this template.')
param extraSettings object = {}

@description('Days that logs are kept.')
@minValue(30)
@maxValue(730)
param logRetentionDays int = 30

@description('Tags put on every resource.')
param tags object = {}

var unique = uniqueString(resourceGroup().id, name)
var plain = take(toLower(replace(name, '-', '')), 9)
var functionAppName = 'func-${name}-${unique}'
var blobs = storage.properties.primaryEndpoints.blob

// Ids of built-in roles; they are the same in every tenant.
var roles = {
  blobDataOwner: 'b7e6dc6d-f1e8-4753-8033-0f276bb0955b'
  blobDataReader: '2a2b9908-6ea1-4ae2-8e65-a410df84e7d1'
  queueDataContributor: '974c5e8b-45b9-4653-ba55-5f855dd0fb88'
  tableDataContributor: '0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3'
  metricsPublisher: '3913510d-42f4-4e42-8a64-420c390055eb'
  keyVaultSecretsUser: '4633458b-17de-408a-b874-0445c86b69e6'
}

// ---- the app's identity ------------------------------------------------------------------------------------

resource identity 'Microsoft.ManagedIdentity/userAssignedIdentities@2023-01-31' = {
  name: 'id-${name}-${unique}'
  location: location
  tags: tags
}

// ---- storage: exports in, staging for bulk loads, the app's documents, the ledger, the host's state -----------

resource storage 'Microsoft.Storage/storageAccounts@2023-05-01' = {
  // checkov:skip=CKV_AZURE_35: Event Grid, CoolR's exports and operators reach it from public addresses, all with an identity
  // checkov:skip=CKV_AZURE_206: locally redundant: the exporting system keeps the originals, and a full restores the tables
  // checkov:skip=CKV_AZURE_43: the name is right; the rule does not evaluate expressions
  name: 'st${plain}${unique}'
  location: location
  tags: tags
  kind: 'StorageV2' // Event Grid needs a general-purpose v2 account
  sku: {
    name: 'Standard_LRS'
  }
  properties: {
    allowBlobPublicAccess: false
    allowSharedKeyAccess: false
    minimumTlsVersion: 'TLS1_2'
    supportsHttpsTrafficOnly: true
    networkAcls: {
      bypass: 'AzureServices'
      defaultAction: 'Allow'
    }
  }
}

resource blobService 'Microsoft.Storage/storageAccounts/blobServices@2023-05-01' = {
  parent: storage
  name: 'default'
  properties: {
    deleteRetentionPolicy: {
      enabled: true
      days: 7
    }
    // The upload page writes files here itself, by links that sign in for one blob.
    cors: {
      corsRules: empty(statusClientId) ? [] : [
        {
          allowedOrigins: ['https://${functionAppName}.azurewebsites.net']
          allowedMethods: ['PUT']
          allowedHeaders: ['content-type']
          exposedHeaders: []
          maxAgeInSeconds: 3600
        }
      ]
    }
  }
}

resource exportsContainer 'Microsoft.Storage/storageAccounts/blobServices/containers@2023-05-01' = {
  parent: blobService
  name: 'exports'
  properties: {
    publicAccess: 'None'
  }
}

resource stagingContainer 'Microsoft.Storage/storageAccounts/blobServices/containers@2023-05-01' = {
  parent: blobService
  name: 'staging'
  properties: {
    publicAccess: 'None'
  }
}

// Payloads of webhooks contain links with signatures, so only the app may read them.
resource stateContainer 'Microsoft.Storage/storageAccounts/blobServices/containers@2023-05-01' = {
  parent: blobService
  name: 'state'
  properties: {
    publicAccess: 'None'
  }
}

// Events that could not be delivered.
resource deadLettersContainer 'Microsoft.Storage/storageAccounts/blobServices/containers@2023-05-01' = {
  parent: blobService
  name: 'dead-letters'
  properties: {
    publicAccess: 'None'
  }
}

resource deploymentContainer 'Microsoft.Storage/storageAccounts/blobServices/containers@2023-05-01' = {
  parent: blobService
  name: 'app-package'
  properties: {
    publicAccess: 'None'
  }
}

// What is no longer needed: dead letters, and parts of bulk loads that a dead run left behind.
var daysKept = {
  'dead-letters': 21 // well before the app forgets that it sent the alert (KEEP_JOBS), or it would send it again
  staging: 7
}

resource lifecycle 'Microsoft.Storage/storageAccounts/managementPolicies@2023-05-01' = {
  parent: storage
  name: 'default'
  properties: {
    policy: {
      rules: [
        for kept in items(daysKept): {
          name: 'delete-old-${kept.key}'
          enabled: true
          type: 'Lifecycle'
          definition: {
            filters: {
              blobTypes: ['blockBlob']
              prefixMatch: ['${kept.key}/'] // the slash, or a container of a longer name would match too
            }
            actions: {
              baseBlob: {
                delete: {
                  daysAfterModificationGreaterThan: kept.value
                }
              }
            }
          }
        }
      ]
    }
  }
}

resource tableService 'Microsoft.Storage/storageAccounts/tableServices@2023-05-01' = {
  parent: storage
  name: 'default'
}

resource ledgerTable 'Microsoft.Storage/storageAccounts/tableServices/tables@2023-05-01' = {
  parent: tableService
  name: 'ledger'
}

var storageRoles = [
  roles.blobDataOwner // exports, staging, state, dead letters; the host's leases, keys and package
  roles.queueDataContributor // the queues of the blob trigger, its poison queue, and Durable's
  roles.tableDataContributor // the ledger; Durable's history
]

resource storageAccess 'Microsoft.Authorization/roleAssignments@2022-04-01' = [
  for role in storageRoles: {
    scope: storage
    name: guid(storage.id, identity.id, role)
    properties: {
      roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', role)
      principalId: identity.properties.principalId
      principalType: 'ServicePrincipal'
    }
  }
]

// ---- Azure SQL: Entra sign-in only ---------------------------------------------------------------------------

resource sqlServer 'Microsoft.Sql/servers@2021-11-01' = {
  // checkov:skip=CKV_AZURE_113: the app has no network of its own; the firewall admits services in Azure, and sign-in takes Entra identities only
  name: 'sql-${name}-${unique}'
  location: location
  tags: tags
  identity: {
    type: 'SystemAssigned' // BULK INSERT reads the staging container as this identity
  }
  properties: {
    minimalTlsVersion: '1.2'
    publicNetworkAccess: 'Enabled'
    administrators: {
      administratorType: 'ActiveDirectory'
      azureADOnlyAuthentication: true
      login: sqlAdminName
      sid: sqlAdminObjectId
      principalType: sqlAdminType
      tenantId: tenant().tenantId
    }
  }
}

// The range 0.0.0.0 stands for "services in Azure", which the function app is.
resource sqlFirewall 'Microsoft.Sql/servers/firewallRules@2021-11-01' = {
  parent: sqlServer
  name: 'AllowAllWindowsAzureIps'
  properties: {
    startIpAddress: '0.0.0.0'
    endIpAddress: '0.0.0.0'
  }
}

resource sqlDatabase 'Microsoft.Sql/servers/databases@2021-11-01' = {
  // checkov:skip=CKV_AZURE_229: zones cost more; a paused or lost database only delays loads
  // checkov:skip=CKV_AZURE_26: Defender for SQL is billed, and switched on for the subscription
  // checkov:skip=CKV_AZURE_27: Defender for SQL is billed, and switched on for the subscription
  parent: sqlServer
  name: sqlDatabaseName
  location: location
  tags: tags
  sku: {
    name: 'GP_S_Gen5'
    tier: 'GeneralPurpose'
    family: 'Gen5'
    capacity: sqlMaxVCores
  }
  properties: {
    autoPauseDelay: sqlAutoPauseMinutes
    minCapacity: json('0.5')
  }
}

resource sqlReadsStaging 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: stagingContainer
  name: guid(stagingContainer.id, sqlServer.id, roles.blobDataReader)
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.blobDataReader)
    principalId: sqlServer.identity.principalId
    principalType: 'ServicePrincipal'
  }
}

// ---- secrets of source systems -------------------------------------------------------------------------------

resource keyVault 'Microsoft.KeyVault/vaults@2023-07-01' = {
  // checkov:skip=CKV_AZURE_109: the app has no network of its own; reading takes a role
  // checkov:skip=CKV_AZURE_189: the app has no network of its own; reading takes a role
  name: 'kv${plain}${unique}'
  location: location
  tags: tags
  properties: {
    tenantId: tenant().tenantId
    enableRbacAuthorization: true
    enableSoftDelete: true
    enablePurgeProtection: true // a deleted vault can be restored for 90 days, and by nobody be destroyed before
    sku: {
      family: 'A'
      name: 'standard'
    }
  }
}

resource keyVaultAccess 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: keyVault
  name: guid(keyVault.id, identity.id, roles.keyVaultSecretsUser)
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.keyVaultSecretsUser)
    principalId: identity.properties.principalId
    principalType: 'ServicePrincipal'
  }
}

// ---- logs ----------------------------------------------------------------------------------------------------

resource logs 'Microsoft.OperationalInsights/workspaces@2022-10-01' = {
  name: 'log-${name}-${unique}'
  location: location
  tags: tags
  properties: {
    retentionInDays: logRetentionDays
    sku: {
      name: 'PerGB2018'
    }
  }
}

resource insights 'Microsoft.Insights/components@2020-02-02' = {
  name: 'appi-${name}-${unique}'
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
  name: guid(insights.id, identity.id, roles.metricsPublisher)
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.metricsPublisher)
    principalId: identity.properties.principalId
    principalType: 'ServicePrincipal'
  }
}

// ---- the function app ----------------------------------------------------------------------------------------

resource plan 'Microsoft.Web/serverfarms@2024-04-01' = {
  // checkov:skip=CKV_AZURE_225: zones are not in every region, and a lost instance only delays work
  name: 'plan-${name}-${unique}'
  location: location
  tags: tags
  kind: 'functionapp'
  sku: {
    tier: 'FlexConsumption'
    name: 'FC1'
  }
  properties: {
    reserved: true // Linux
  }
}

var readyForJobs = alwaysReadyDurable > 0 ? [
  { name: 'durable', instanceCount: alwaysReadyDurable }
] : []
var readyForBlobs = alwaysReadyBlob > 0 ? [
  { name: 'blob', instanceCount: alwaysReadyBlob }
] : []

resource functionApp 'Microsoft.Web/sites@2024-04-01' = {
  // checkov:skip=CKV_AZURE_222: Event Grid and webhooks come from public addresses; every route needs a key
  // checkov:skip=CKV_AZURE_17: neither Event Grid nor the senders of webhooks have client certificates
  // checkov:skip=CKV_AZURE_67: Flex Consumption is not known to take this property
  // checkov:skip=CKV_AZURE_18: Flex Consumption is not known to take this property
  // checkov:skip=CKV_AZURE_78: Flex Consumption has no FTP
  // checkov:skip=CKV_AZURE_212: the platform scales it; alwaysReadyDurable says how many instances are kept
  // checkov:skip=CKV_AZURE_213: the platform checks its instances; the watchdog and alerts notice what it does not
  name: functionAppName
  location: location
  tags: tags
  kind: 'functionapp,linux'
  identity: {
    type: 'UserAssigned'
    userAssignedIdentities: {
      '${identity.id}': {}
    }
  }
  properties: {
    serverFarmId: plan.id
    httpsOnly: true
    keyVaultReferenceIdentity: identity.id
    functionAppConfig: {
      deployment: {
        storage: {
          type: 'blobContainer'
          value: '${blobs}${deploymentContainer.name}'
          authentication: {
            type: 'UserAssignedIdentity'
            userAssignedIdentityResourceId: identity.id
          }
        }
      }
      scaleAndConcurrency: {
        instanceMemoryMB: instanceMemoryMB
        maximumInstanceCount: maximumInstanceCount
        alwaysReady: concat(readyForJobs, readyForBlobs)
      }
      runtime: {
        name: 'python'
        version: pythonVersion
      }
    }
    siteConfig: {
      alwaysOn: false
      minTlsVersion: '1.2'
    }
  }
  // The identity needs its roles before the site is created.
  dependsOn: [
    storageAccess
    keyVaultAccess
    insightsAccess
  ]
}

// Runtime, version and scale are in functionAppConfig; Flex Consumption refuses the app settings of the same purpose.
var hostSettings = {
  AzureWebJobsStorage__credential: 'managedidentity'
  AzureWebJobsStorage__clientId: identity.properties.clientId
  AzureWebJobsStorage__blobServiceUri: blobs
  AzureWebJobsStorage__queueServiceUri: storage.properties.primaryEndpoints.queue
  AzureWebJobsStorage__tableServiceUri: storage.properties.primaryEndpoints.table
  ExportsStorage__credential: 'managedidentity'
  ExportsStorage__clientId: identity.properties.clientId
  ExportsStorage__blobServiceUri: blobs
  ExportsStorage__queueServiceUri: storage.properties.primaryEndpoints.queue // a blob trigger does not start without it
  APPLICATIONINSIGHTS_CONNECTION_STRING: insights.properties.ConnectionString
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
  WAREHOUSE_URL: 'mssql://${identity.properties.clientId}@${sqlServer.properties.fullyQualifiedDomainName}/${sqlDatabaseName}?authentication=ActiveDirectoryMsi'
  LEDGER_URL: storage.properties.primaryEndpoints.table
  STAGING_URL: '${blobs}${stagingContainer.name}'
  EXPORTS_URL: '${blobs}${exportsContainer.name}'
  STATE_URL: '${blobs}${stateContainer.name}'
  DEAD_LETTER_URL: '${blobs}${deadLettersContainer.name}'
  COOLR_CLIENT: coolrClient
  COOLR_WEBHOOK_HOSTS: coolrWebhookHosts
  ALERT_FORMAT: alertFormat
  ALERT_ON: alertOn
  POWERBI_DATASET: powerBiDataset
  STATUS_SIGN_IN: empty(statusClientId) ? 'off' : 'entra'
}

// As JSON rather than by toObject() and filter(): these need lambdas, which the parsers of scanners do not read.
var secretReference = '@Microsoft.KeyVault(VaultName=${keyVault.name};SecretName='
var secretPairs = [for setting in items(secretSettings): '"${setting.key}":"${secretReference}${setting.value})"']
var destinationPairs = [for one in items(destinationSecrets): '"WAREHOUSE_URL_${toUpper(one.key)}":"${secretReference}${one.value})"']
var secretReferences = json('{${join(secretPairs, ',')}}')
var destinationReferences = json('{${join(destinationPairs, ',')}}')

// People sign in to the status page. All other routes are for callers with a key or a signature, who are let through.
resource signIn 'Microsoft.Web/sites/config@2024-04-01' = if (!empty(statusClientId)) {
  // checkov:skip=CKV_AZURE_13: this configures sign-in only; the rule takes it for that of a whole app
  // checkov:skip=CKV_AZURE_63: this configures sign-in only; the rule takes it for that of a whole app
  // checkov:skip=CKV_AZURE_65: this configures sign-in only; the rule takes it for that of a whole app
  // checkov:skip=CKV_AZURE_66: this configures sign-in only; the rule takes it for that of a whole app
  // checkov:skip=CKV_AZURE_80: this configures sign-in only; the rule takes it for that of a whole app
  // checkov:skip=CKV_AZURE_88: this configures sign-in only; the rule takes it for that of a whole app
  // checkov:skip=CKV_AZURE_222: this configures sign-in only; the rule takes it for that of a whole app
  parent: functionApp
  name: 'authsettingsV2'
  properties: {
    platform: {
      enabled: true
    }
    globalValidation: {
      unauthenticatedClientAction: 'AllowAnonymous'
    }
    httpSettings: {
      requireHttps: true
    }
    identityProviders: {
      azureActiveDirectory: {
        enabled: true
        registration: {
          clientId: statusClientId
          openIdIssuer: '${environment().authentication.loginEndpoint}${tenant().tenantId}/v2.0'
        }
      }
    }
    login: {
      tokenStore: {
        enabled: false
      }
    }
  }
}

// All settings: a deployment overwrites what was set by hand.
resource functionSettings 'Microsoft.Web/sites/config@2024-04-01' = {
  // checkov:skip=CKV_AZURE_13: not a setting of an app: the rule takes these for a web configuration
  // checkov:skip=CKV_AZURE_63: not a setting of an app: the rule takes these for a web configuration
  // checkov:skip=CKV_AZURE_65: not a setting of an app: the rule takes these for a web configuration
  // checkov:skip=CKV_AZURE_66: not a setting of an app: the rule takes these for a web configuration
  // checkov:skip=CKV_AZURE_80: not a setting of an app: the rule takes these for a web configuration
  // checkov:skip=CKV_AZURE_88: not a setting of an app: the rule takes these for a web configuration
  // checkov:skip=CKV_AZURE_222: not a setting of an app: the rule takes these for a web configuration
  parent: functionApp
  name: 'appsettings'
  properties: union(hostSettings, sluiceSettings, extraSettings, secretReferences, destinationReferences)
  dependsOn: [
    signIn // STATUS_SIGN_IN trusts headers that only it keeps others from sending
  ]
}

// ---- events of arrived files ---------------------------------------------------------------------------------

module events 'modules/events.bicep' = {
  name: 'events'
  params: {
    topicName: 'evgt-${name}-${unique}'
    location: location
    tags: tags
    storageName: storage.name
    exportsContainerName: exportsContainer.name
    deadLettersContainerName: deadLettersContainer.name
    functionAppName: functionApp.name
    subscribe: eventSubscription
    alertEmail: alertEmail
  }
  dependsOn: [
    functionSettings
  ]
}

@description('Name of the function app: the target of code deployment.')
output functionAppName string = functionApp.name

@description('Name of the identity that becomes a user of the database.')
output identityName string = identity.name

@description('Address of the SQL server.')
output sqlServerHost string = sqlServer.properties.fullyQualifiedDomainName

@description('Name of the database.')
output sqlDatabaseName string = sqlDatabase.name

@description('Name of the Application Insights component.')
output insightsName string = insights.name

@description('Name of the storage account.')
output storageName string = storage.name

@description('URL of the container for exports.')
output exportsUrl string = '${blobs}${exportsContainer.name}'

@description('URL of the container for bulk loads.')
output stagingUrl string = '${blobs}${stagingContainer.name}'

@description('URL of the operations API; each call needs a function key.')
output apiUrl string = 'https://${functionApp.properties.defaultHostName}/api'

@description('URL for notifications of CoolR; it needs a key of the function coolr_webhook.')
output webhookUrl string = 'https://${functionApp.properties.defaultHostName}/api/webhooks/coolr'

@description('URL for events of HubSpot; it needs a key of the function hubspot_webhook.')
output hubspotWebhookUrl string = 'https://${functionApp.properties.defaultHostName}/api/webhooks/hubspot'

@description('Name of the key vault that holds the secrets of source systems.')
output keyVaultName string = keyVault.name
