// Everything Sluice runs on, in one resource group: a Flex Consumption function app, its storage account, an
// Azure SQL database, a key vault and Application Insights. Nothing here has a password or a shared key: the app
// signs in everywhere with its own identity.
//
//   az deployment group create --resource-group <group> --template-file infra/main.bicep \
//     --parameters sqlAdminName=<Entra group or user> sqlAdminObjectId=<its object id>
//
// After it: prepare the database as its administrator (az login first), then deploy the code.
//
//   WAREHOUSE_URL='mssql://<server>/<database>' STAGING_URL='<the container>' sluice sql setup --user <identity> --apply
//   sluice doctor

targetScope = 'resourceGroup'

@description('Short name of the installation: lower-case letters, digits, hyphens. Names of resources begin with it.')
@minLength(2)
@maxLength(20)
param name string = 'sluice'

@description('Region of all resources. It has to offer Flex Consumption.')
param location string = resourceGroup().location

@description('Python version of the function app.')
@allowed(['3.11', '3.12', '3.13'])
param pythonVersion string = '3.13'

@description('Memory of one instance of the function app, in MB. Processor share grows with it.')
@allowed([512, 2048, 4096])
param instanceMemoryMB int = 2048

@description('Most instances the function app may grow to.')
@minValue(40)
@maxValue(1000)
param maximumInstanceCount int = 40

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

@description('Most vCores of the serverless database. Its log rate, which bounds loading, grows with them up to 8.')
param sqlMaxVCores int = 4

@description('Minutes without a query until the database pauses; -1 keeps it awake. The first call after a pause waits for it.')
param sqlAutoPauseMinutes int = 60

@description('Client of the CoolR system whose exports are loaded. Empty: the only one found.')
param coolrClient string = ''

@description('Secrets of source systems: name of the app setting to the name of its secret in the key vault.')
param secretSettings object = {}

@description('Days that logs are kept.')
@minValue(30)
@maxValue(730)
param logRetentionDays int = 30

@description('Tags put on every resource.')
param tags object = {}

var unique = uniqueString(resourceGroup().id, name)
var plain = take(toLower(replace(name, '-', '')), 9)
var deploymentContainerName = 'app-package'
var stagingContainerName = 'staging'

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

// ---- storage: exports in, staging for bulk loads, webhook payloads, the ledger, the host's own state ---------

resource storage 'Microsoft.Storage/storageAccounts@2023-05-01' = {
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
  name: stagingContainerName
  properties: {
    publicAccess: 'None'
  }
}

// Payloads of webhooks hold links with signatures, so nothing but the app may read them.
resource webhooksContainer 'Microsoft.Storage/storageAccounts/blobServices/containers@2023-05-01' = {
  parent: blobService
  name: 'webhooks'
  properties: {
    publicAccess: 'None'
  }
}

resource deploymentContainer 'Microsoft.Storage/storageAccounts/blobServices/containers@2023-05-01' = {
  parent: blobService
  name: deploymentContainerName
  properties: {
    publicAccess: 'None'
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
  roles.blobDataOwner // exports, staging, webhooks; the host's leases, keys and package
  roles.queueDataContributor // the host's trigger queues and Durable's
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
  name: 'kv${plain}${unique}'
  location: location
  tags: tags
  properties: {
    tenantId: tenant().tenantId
    enableRbacAuthorization: true
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

// Runtime, version and scale stand in functionAppConfig; Flex Consumption refuses the settings that held them before.
var hostSettings = [
  { name: 'AzureWebJobsStorage__credential', value: 'managedidentity' }
  { name: 'AzureWebJobsStorage__clientId', value: identity.properties.clientId }
  { name: 'AzureWebJobsStorage__blobServiceUri', value: storage.properties.primaryEndpoints.blob }
  { name: 'AzureWebJobsStorage__queueServiceUri', value: storage.properties.primaryEndpoints.queue }
  { name: 'AzureWebJobsStorage__tableServiceUri', value: storage.properties.primaryEndpoints.table }
  { name: 'APPLICATIONINSIGHTS_CONNECTION_STRING', value: insights.properties.ConnectionString }
  {
    name: 'APPLICATIONINSIGHTS_AUTHENTICATION_STRING'
    value: 'ClientId=${identity.properties.clientId};Authorization=AAD'
  }
  { name: 'AZURE_CLIENT_ID', value: identity.properties.clientId } // which identity the app's own calls use
  { name: 'PYTHON_THREADPOOL_THREAD_COUNT', value: string(threads) }
  { name: 'TASKHUB_NAME', value: 'sluice' }
]

var sluiceSettings = [
  {
    name: 'WAREHOUSE_URL'
    value: 'mssql://${identity.properties.clientId}@${sqlServer.properties.fullyQualifiedDomainName}/${sqlDatabaseName}?authentication=ActiveDirectoryMsi'
  }
  { name: 'LEDGER_URL', value: storage.properties.primaryEndpoints.table }
  { name: 'STAGING_URL', value: '${storage.properties.primaryEndpoints.blob}${stagingContainerName}' }
  { name: 'COOLR_CLIENT', value: coolrClient }
]

var secretReferences = map(items(secretSettings), setting => {
  name: setting.key
  value: '@Microsoft.KeyVault(VaultName=${keyVault.name};SecretName=${setting.value})'
})

resource functionApp 'Microsoft.Web/sites@2024-04-01' = {
  name: 'func-${name}-${unique}'
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
          value: '${storage.properties.primaryEndpoints.blob}${deploymentContainerName}'
          authentication: {
            type: 'UserAssignedIdentity'
            userAssignedIdentityResourceId: identity.id
          }
        }
      }
      scaleAndConcurrency: {
        instanceMemoryMB: instanceMemoryMB
        maximumInstanceCount: maximumInstanceCount
      }
      runtime: {
        name: 'python'
        version: pythonVersion
      }
    }
    siteConfig: {
      alwaysOn: false
      minTlsVersion: '1.2'
      appSettings: concat(hostSettings, sluiceSettings, secretReferences)
    }
  }
  // The container must exist, and the identity be let in, before the site is made.
  dependsOn: [
    deploymentContainer
    storageAccess
    keyVaultAccess
    insightsAccess
  ]
}

@description('Name of the function app: the target of code deployment.')
output functionAppName string = functionApp.name

@description('Name of the identity to put into the database as a user.')
output identityName string = identity.name

@description('Address of the SQL server.')
output sqlServerHost string = sqlServer.properties.fullyQualifiedDomainName

@description('Name of the database.')
output sqlDatabaseName string = sqlDatabase.name

@description('Address of the container that exports are put into.')
output exportsUrl string = '${storage.properties.primaryEndpoints.blob}${exportsContainer.name}'

@description('Address of the container that webhook payloads are kept in.')
output webhooksUrl string = '${storage.properties.primaryEndpoints.blob}${webhooksContainer.name}'

@description('Name of the key vault that holds the secrets of source systems.')
output keyVaultName string = keyVault.name
