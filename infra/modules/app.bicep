// The function app: its plan, its settings, and how people sign in to its status page.

@description('Name of the installation and the suffix that makes names unique.')
param suffix string

@description('Region of the app.')
param location string

@description('Tags put on every resource.')
param tags object

@description('Name of the identity of the app, in this resource group.')
param identityName string

@description('Container of the code.')
param packageUrl string

@description('Python version.')
param pythonVersion string

@description('Memory of one instance, in MB.')
param instanceMemoryMB int

@description('Maximum number of instances.')
param maximumInstanceCount int

@description('Instances that are always ready for jobs.')
param alwaysReadyDurable int

@description('Instances that are always ready for events of arrived files.')
param alwaysReadyBlob int

@description('Whether instances run in several zones.')
param zoneRedundant bool

@description('Id of the subnet that the app calls from. Empty: it calls from public addresses.')
param subnetId string

@description('Client id of the app registration that people sign in with. Empty: nobody sees the page.')
param statusClientId string

@description('All settings, by name.')
param settings object

resource identity 'Microsoft.ManagedIdentity/userAssignedIdentities@2023-01-31' existing = {
  name: identityName
}

resource plan 'Microsoft.Web/serverfarms@2024-04-01' = {
  // checkov:skip=CKV_AZURE_225: zones are the parameter zoneRedundant: they are not in every region, and a lost instance only delays work
  name: 'plan-${suffix}'
  location: location
  tags: tags
  kind: 'functionapp'
  sku: {
    tier: 'FlexConsumption'
    name: 'FC1'
  }
  properties: {
    reserved: true // Linux
    zoneRedundant: zoneRedundant
  }
}

// With zones, a group that is always ready has two instances at least.
var readyForJobs = alwaysReadyDurable > 0 ? [
  { name: 'durable', instanceCount: zoneRedundant ? max(alwaysReadyDurable, 2) : alwaysReadyDurable }
] : []
var readyForBlobs = alwaysReadyBlob > 0 ? [
  { name: 'blob', instanceCount: zoneRedundant ? max(alwaysReadyBlob, 2) : alwaysReadyBlob }
] : []

resource functionApp 'Microsoft.Web/sites@2024-04-01' = {
  // checkov:skip=CKV_AZURE_222: Event Grid and webhooks come from public addresses; every route needs a key
  // checkov:skip=CKV_AZURE_17: neither Event Grid nor the senders of webhooks have client certificates
  // checkov:skip=CKV_AZURE_67: Flex Consumption is not known to take this property
  // checkov:skip=CKV_AZURE_18: Flex Consumption is not known to take this property
  // checkov:skip=CKV_AZURE_78: Flex Consumption has no FTP
  // checkov:skip=CKV_AZURE_212: the platform scales it; alwaysReadyDurable says how many instances are kept
  // checkov:skip=CKV_AZURE_213: the platform checks its instances; the watchdog and alerts notice what it does not
  name: 'func-${suffix}'
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
    virtualNetworkSubnetId: empty(subnetId) ? null : subnetId
    functionAppConfig: {
      deployment: {
        storage: {
          type: 'blobContainer'
          value: packageUrl
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
}

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
  properties: settings
  dependsOn: [
    signIn // STATUS_SIGN_IN trusts headers that only it keeps others from sending
  ]
}

@description('Name of the app.')
output name string = functionApp.name

@description('Id of the app.')
output id string = functionApp.id

@description('Host name of the app.')
output host string = functionApp.properties.defaultHostName
