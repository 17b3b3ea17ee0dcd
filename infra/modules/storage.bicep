// What Sluice has in a storage account, new or not, and who may use it: exports, staging for bulk loads, the app's documents, the
// ledger, the host's state.

@description('Name of the storage account.')
param accountName string

@description('Id of the identity of the app.')
param identityId string

@description('Principal of that identity.')
param principalId string

@description('Id of the SQL server.')
param sqlServerId string

@description('Principal of the identity of the SQL server.')
param sqlPrincipalId string

@description('Object ids of those who may write files into the container for exports.')
param uploaders array

// Ids of built-in roles; they are the same in every tenant.
var roles = {
  blobDataOwner: 'b7e6dc6d-f1e8-4753-8033-0f276bb0955b'
  blobDataContributor: 'ba92f5b4-2d11-453d-a403-e96b0029c9fe'
  blobDataReader: '2a2b9908-6ea1-4ae2-8e65-a410df84e7d1'
  queueDataContributor: '974c5e8b-45b9-4653-ba55-5f855dd0fb88'
  tableDataContributor: '0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3'
}

var containerNames = [
  'exports' // where files arrive
  'staging' // parts of bulk loads
  'state' // the app's documents; payloads of webhooks contain links with signatures, so only the app may read them
  'dead-letters' // events that could not be delivered
  'app-package' // the code of the app
]

resource storage 'Microsoft.Storage/storageAccounts@2023-05-01' existing = {
  name: accountName
}

resource blobService 'Microsoft.Storage/storageAccounts/blobServices@2023-05-01' existing = {
  parent: storage
  name: 'default'
}

resource tableService 'Microsoft.Storage/storageAccounts/tableServices@2023-05-01' existing = {
  parent: storage
  name: 'default'
}

resource containers 'Microsoft.Storage/storageAccounts/blobServices/containers@2023-05-01' = [
  for container in containerNames: {
    parent: blobService
    name: container
    properties: {
      publicAccess: 'None'
    }
  }
]

resource ledgerTable 'Microsoft.Storage/storageAccounts/tableServices/tables@2023-05-01' = {
  parent: tableService
  name: 'ledger'
}

resource exportsContainer 'Microsoft.Storage/storageAccounts/blobServices/containers@2023-05-01' existing = {
  parent: blobService
  name: 'exports'
}

resource stagingContainer 'Microsoft.Storage/storageAccounts/blobServices/containers@2023-05-01' existing = {
  parent: blobService
  name: 'staging'
}

// On the whole account, as the host makes containers, queues and tables of its own in it.
var appRoles = [
  {
    role: roles.blobDataOwner
    reason: 'Storage Blob Data Owner: the app reads exports and writes staged parts and documents; the host keeps leases, keys and code.'
  }
  {
    role: roles.queueDataContributor
    reason: 'Storage Queue Data Contributor: queues of the blob trigger and of Durable; the watchdog empties the poison queue.'
  }
  {
    role: roles.tableDataContributor
    reason: 'Storage Table Data Contributor: the ledger; the history of Durable.'
  }
]

resource storageAccess 'Microsoft.Authorization/roleAssignments@2022-04-01' = [
  for one in appRoles: {
    scope: storage
    name: guid(storage.id, identityId, one.role)
    properties: {
      description: one.reason
      roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', one.role)
      principalId: principalId
      principalType: 'ServicePrincipal'
    }
  }
]

resource sqlReadsStaging 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: stagingContainer
  name: guid(stagingContainer.id, sqlServerId, roles.blobDataReader)
  properties: {
    description: 'Storage Blob Data Reader: BULK INSERT reads the staged parts as the SQL server.'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.blobDataReader)
    principalId: sqlPrincipalId
    principalType: 'ServicePrincipal'
  }
  dependsOn: [
    containers
  ]
}

resource uploadersWriteExports 'Microsoft.Authorization/roleAssignments@2022-04-01' = [
  for uploader in uploaders: {
    scope: exportsContainer
    name: guid(exportsContainer.id, uploader, roles.blobDataContributor)
    properties: {
      description: 'Storage Blob Data Contributor: the exporting system, or an operator, uploads exports.'
      roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.blobDataContributor)
      principalId: uploader
    }
    dependsOn: [
      containers
    ]
  }
]

@description('Id of the account.')
output id string = storage.id

@description('Address of its blobs.')
output blobs string = storage.properties.primaryEndpoints.blob

@description('Address of its queues.')
output queues string = storage.properties.primaryEndpoints.queue

@description('Address of its tables.')
output tables string = storage.properties.primaryEndpoints.table
