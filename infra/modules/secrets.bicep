// Of an existing key vault, in which others keep their secrets too, the app may read the secrets that settings refer to, and no other.

@description('Name of the key vault.')
param vaultName string

@description('Names of the secrets that settings refer to.')
param secretNames array

@description('Id of the identity of the app.')
param identityId string

@description('Principal of that identity.')
param principalId string

var keyVaultSecretsUser = '4633458b-17de-408a-b874-0445c86b69e6' // a built-in role, the same in every tenant
var names = union(secretNames, []) // each once

resource vault 'Microsoft.KeyVault/vaults@2023-07-01' existing = {
  name: vaultName
}

resource secrets 'Microsoft.KeyVault/vaults/secrets@2023-07-01' existing = [
  for name in names: {
    parent: vault
    name: name
  }
]

resource secretAccess 'Microsoft.Authorization/roleAssignments@2022-04-01' = [
  for (name, place) in names: {
    scope: secrets[place]
    name: guid(vault.id, name, identityId, keyVaultSecretsUser)
    properties: {
      description: 'Key Vault Secrets User: the host replaces references in app settings by secrets.'
      roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', keyVaultSecretsUser)
      principalId: principalId
      principalType: 'ServicePrincipal'
    }
  }
]
