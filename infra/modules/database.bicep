// The database, on a server that is new or not.

@description('Name of the server.')
param serverName string

@description('Region of the database.')
param location string

@description('Tags put on the database.')
param tags object

@description('Name of the database.')
param databaseName string

@description('Maximum vCores of the database.')
param maxVCores int

@description('Minutes without a query until the database pauses; -1: never.')
param autoPauseMinutes int

@description('Whether replicas of the database run in several zones.')
param zoneRedundant bool

resource server 'Microsoft.Sql/servers@2021-11-01' existing = {
  name: serverName
}

resource database 'Microsoft.Sql/servers/databases@2021-11-01' = {
  // checkov:skip=CKV_AZURE_229: zones are the parameter zoneRedundant; a paused or lost database only delays loads
  // checkov:skip=CKV_AZURE_26: Defender for SQL is billed, and switched on for the subscription
  // checkov:skip=CKV_AZURE_27: Defender for SQL is billed, and switched on for the subscription
  parent: server
  name: databaseName
  location: location
  tags: tags
  sku: {
    name: 'GP_S_Gen5'
    tier: 'GeneralPurpose'
    family: 'Gen5'
    capacity: maxVCores
  }
  properties: {
    autoPauseDelay: autoPauseMinutes
    minCapacity: json('0.5')
    zoneRedundant: zoneRedundant
  }
}

@description('Id of the server.')
output serverId string = server.id

@description('Address of the server.')
output host string = server.properties.fullyQualifiedDomainName

@description('Principal of the identity that the server has.')
output principalId string = server.identity.principalId

@description('Id of the database.')
output databaseId string = database.id
