// A new SQL server, with Entra sign-in only.

@description('Name of the server.')
param serverName string

@description('Region of the server.')
param location string

@description('Tags put on the resources.')
param tags object

@description('Display name of the Entra principal that administers the server.')
param adminName string

@description('Its object id; for an application, its client id.')
param adminObjectId string

@description('What kind of principal it is.')
param adminType string

@description('Whether the server takes calls only from private endpoints and from allowedAddresses.')
param privateNetwork bool

@description('Public IPv4 addresses that may call the server.')
param allowedAddresses array

@description('Whether the audit of the server has every statement.')
param auditStatements bool

@description('Id of the workspace that keeps the audit.')
param workspaceId string

resource server 'Microsoft.Sql/servers@2021-11-01' = {
  // checkov:skip=CKV_AZURE_113: closed with privateNetwork; otherwise the firewall admits services in Azure, and sign-in takes Entra identities only
  name: serverName
  location: location
  tags: tags
  identity: {
    type: 'SystemAssigned' // BULK INSERT reads the staging container as this identity
  }
  properties: {
    minimalTlsVersion: '1.2'
    publicNetworkAccess: privateNetwork && empty(allowedAddresses) ? 'Disabled' : 'Enabled'
    administrators: {
      administratorType: 'ActiveDirectory'
      azureADOnlyAuthentication: true
      login: adminName
      sid: adminObjectId
      principalType: adminType
      tenantId: tenant().tenantId
    }
  }
}

// The range 0.0.0.0 stands for "services in Azure", which the function app is.
resource admitAzure 'Microsoft.Sql/servers/firewallRules@2021-11-01' = if (!privateNetwork) {
  parent: server
  name: 'AllowAllWindowsAzureIps'
  properties: {
    startIpAddress: '0.0.0.0'
    endIpAddress: '0.0.0.0'
  }
}

resource admitAddresses 'Microsoft.Sql/servers/firewallRules@2021-11-01' = [
  for (address, place) in allowedAddresses: {
    parent: server
    name: 'allowed-${place}'
    properties: {
      startIpAddress: address
      endIpAddress: address
    }
  }
]

// Who signed in, who could not, and who changed what others may do. Statements are only kept if wanted: each load has
// thousands, with values of rows in some, and the workspace is billed by volume.
var auditedGroups = [
  'SUCCESSFUL_DATABASE_AUTHENTICATION_GROUP'
  'FAILED_DATABASE_AUTHENTICATION_GROUP'
  'DATABASE_PRINCIPAL_CHANGE_GROUP'
  'DATABASE_ROLE_MEMBER_CHANGE_GROUP'
  'DATABASE_PERMISSION_CHANGE_GROUP'
  'SCHEMA_OBJECT_PERMISSION_CHANGE_GROUP'
]

resource auditing 'Microsoft.Sql/servers/auditingSettings@2021-11-01' = {
  parent: server
  name: 'default'
  properties: {
    state: 'Enabled'
    isAzureMonitorTargetEnabled: true
    auditActionsAndGroups: concat(auditedGroups, auditStatements ? ['BATCH_COMPLETED_GROUP'] : [])
  }
}

resource masterDatabase 'Microsoft.Sql/servers/databases@2021-11-01' existing = {
  parent: server
  name: 'master'
}

// The audit of a server is sent by its database master.
resource auditTarget 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  scope: masterDatabase
  name: 'audit'
  properties: {
    workspaceId: workspaceId
    logs: [
      {
        category: 'SQLSecurityAuditEvents'
        enabled: true
      }
    ]
  }
}
