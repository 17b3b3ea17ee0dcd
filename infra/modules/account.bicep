// A new storage account: what it takes, what it keeps, and for how long.

@description('Name of the storage account.')
param accountName string

@description('Region of the account.')
param location string

@description('Tags put on the account.')
param tags object

@description('Whether the account keeps copies in three zones of its region.')
param zoneRedundant bool

@description('Whether the account takes calls only from private endpoints, from services that Azure trusts, and from allowedAddresses.')
param privateNetwork bool

@description('Public IPv4 addresses that may call the account then.')
param allowedAddresses array

@description('Days that deleted blobs and containers of the account can be restored.')
param softDeleteDays int

@description('Origin of the status page, whose uploads are written to the account by short links. Empty: none.')
param pageOrigin string

resource storage 'Microsoft.Storage/storageAccounts@2023-05-01' = {
  // checkov:skip=CKV_AZURE_35: denied with privateNetwork; otherwise Event Grid, CoolR's exports and operators reach it from public addresses, all with an identity
  // checkov:skip=CKV_AZURE_206: copies in zones are the parameter zoneRedundant; the exporting system keeps the originals, and a full restores the tables
  // checkov:skip=CKV_AZURE_43: the name is right; the rule does not evaluate expressions
  name: accountName
  location: location
  tags: tags
  kind: 'StorageV2' // Event Grid needs a general-purpose v2 account
  sku: {
    name: zoneRedundant ? 'Standard_ZRS' : 'Standard_LRS'
  }
  properties: {
    allowBlobPublicAccess: false
    allowSharedKeyAccess: false
    minimumTlsVersion: 'TLS1_2'
    supportsHttpsTrafficOnly: true
    networkAcls: {
      bypass: 'AzureServices' // Event Grid writes dead letters, and the SQL server reads staged parts, with their identities
      defaultAction: privateNetwork ? 'Deny' : 'Allow'
      ipRules: [for address in allowedAddresses: { action: 'Allow', value: address }]
    }
  }
}

resource blobService 'Microsoft.Storage/storageAccounts/blobServices@2023-05-01' = {
  parent: storage
  name: 'default'
  properties: {
    deleteRetentionPolicy: {
      enabled: true
      days: softDeleteDays
    }
    containerDeleteRetentionPolicy: {
      enabled: true
      days: softDeleteDays
    }
    cors: {
      corsRules: empty(pageOrigin) ? [] : [
        {
          allowedOrigins: [pageOrigin]
          allowedMethods: ['PUT']
          allowedHeaders: ['content-type']
          exposedHeaders: []
          maxAgeInSeconds: 3600
        }
      ]
    }
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
