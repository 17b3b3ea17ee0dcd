// A new key vault for the secrets of source systems.

@description('Name of the key vault.')
param vaultName string

@description('Region of the vault.')
param location string

@description('Tags put on the vault.')
param tags object

@description('Whether the vault takes calls only from private endpoints, from services that Azure trusts, and from allowedAddresses.')
param privateNetwork bool

@description('Public IPv4 addresses that may call the vault then.')
param allowedAddresses array

@description('Id of the identity of the app.')
param identityId string

@description('Principal of that identity.')
param principalId string

@description('Id of the workspace that keeps who read what.')
param workspaceId string

var keyVaultSecretsUser = '4633458b-17de-408a-b874-0445c86b69e6' // a built-in role, the same in every tenant

resource vault 'Microsoft.KeyVault/vaults@2023-07-01' = {
  // checkov:skip=CKV_AZURE_109: denied with privateNetwork; otherwise reading takes a role
  // checkov:skip=CKV_AZURE_189: denied with privateNetwork; otherwise reading takes a role
  name: vaultName
  location: location
  tags: tags
  properties: {
    tenantId: tenant().tenantId
    enableRbacAuthorization: true
    enableSoftDelete: true
    enablePurgeProtection: true // a deleted vault can be restored for 90 days, and by nobody be destroyed before
    networkAcls: {
      bypass: 'AzureServices'
      defaultAction: privateNetwork ? 'Deny' : 'Allow'
      ipRules: [for address in allowedAddresses: { value: address }]
    }
    sku: {
      family: 'A'
      name: 'standard'
    }
  }
}

resource readings 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  scope: vault
  name: 'audit'
  properties: {
    workspaceId: workspaceId
    logs: [
      {
        category: 'AuditEvent'
        enabled: true
      }
    ]
  }
}

resource vaultAccess 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: vault
  name: guid(vault.id, identityId, keyVaultSecretsUser)
  properties: {
    description: 'Key Vault Secrets User: the host replaces references in app settings by secrets.'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', keyVaultSecretsUser)
    principalId: principalId
    principalType: 'ServicePrincipal'
  }
}
