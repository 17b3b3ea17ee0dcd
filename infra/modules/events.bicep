// Events of arrived files: from the storage account, through a topic, to the app. What cannot be delivered within a day
// becomes a dead letter.

@description('Name of the system topic of the storage account; an account can have only one.')
param topicName string

@description('Whether the topic exists already, with an identity of its own.')
param existingTopic bool

@description('Region of the storage account.')
param location string

@description('Tags put on every resource.')
param tags object

@description('Name of the storage account.')
param storageName string

@description('Name of the container whose files are announced.')
param exportsContainerName string

@description('Name of the container for dead letters.')
param deadLettersContainerName string

@description('Host name of the function app.')
param functionAppHost string

@description('Id of the function app.')
param functionAppId string

@description('Whether to send events to the app. The app must have run once, because the key of its endpoint exists only then.')
param subscribe bool

var blobDataContributor = 'ba92f5b4-2d11-453d-a403-e96b0029c9fe' // a built-in role, the same in every tenant

resource storage 'Microsoft.Storage/storageAccounts@2023-05-01' existing = {
  name: storageName
}

resource blobService 'Microsoft.Storage/storageAccounts/blobServices@2023-05-01' existing = {
  parent: storage
  name: 'default'
}

resource deadLettersContainer 'Microsoft.Storage/storageAccounts/blobServices/containers@2023-05-01' existing = {
  parent: blobService
  name: deadLettersContainerName
}

// The topic has its own identity, which may write dead letters and nothing else: the account accepts no keys.
resource newTopic 'Microsoft.EventGrid/systemTopics@2025-02-15' = if (!existingTopic) {
  name: topicName
  location: location
  tags: tags
  identity: {
    type: 'SystemAssigned'
  }
  properties: {
    source: storage.id
    topicType: 'Microsoft.Storage.StorageAccounts'
  }
}

resource topic 'Microsoft.EventGrid/systemTopics@2025-02-15' existing = {
  name: topicName
}

resource topicWritesDeadLetters 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: deadLettersContainer
  name: guid(deadLettersContainer.id, topic.id, blobDataContributor)
  properties: {
    description: 'Storage Blob Data Contributor: Event Grid writes the events that it could not deliver, signed in as the topic.'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', blobDataContributor)
    principalId: topic.identity.principalId
    principalType: 'ServicePrincipal'
  }
  dependsOn: [
    newTopic
  ]
}

// The key is listed only if it is needed: a list function is evaluated even if its resource is not deployed.
var blobsKey = subscribe ? listKeys('${functionAppId}/host/default', '2024-04-01').systemKeys.blobs_extension : ''

resource subscription 'Microsoft.EventGrid/systemTopics/eventSubscriptions@2025-02-15' = if (subscribe) {
  parent: topic
  name: 'exports'
  properties: {
    destination: {
      endpointType: 'WebHook'
      properties: {
        endpointUrl: 'https://${functionAppHost}/runtime/webhooks/blobs?functionName=Host.Functions.on_export&code=${blobsKey}'
      }
    }
    eventDeliverySchema: 'EventGridSchema'
    filter: {
      includedEventTypes: ['Microsoft.Storage.BlobCreated']
      subjectBeginsWith: '/blobServices/default/containers/${exportsContainerName}/' // without the slash, exports-old too
      advancedFilters: [
        {
          operatorType: 'StringIn'
          key: 'data.api'
          values: ['CopyBlob', 'PutBlob', 'PutBlockList', 'FlushWithClose'] // not CreateFile, which announces empty files
        }
      ]
    }
    retryPolicy: {
      maxDeliveryAttempts: 30
      eventTimeToLiveInMinutes: 1440
    }
    deadLetterWithResourceIdentity: {
      identity: {
        type: 'SystemAssigned'
      }
      deadLetterDestination: {
        endpointType: 'StorageBlob'
        properties: {
          resourceId: storage.id
          blobContainerName: deadLettersContainerName
        }
      }
    }
  }
  dependsOn: [
    topicWritesDeadLetters
  ]
}

@description('Id of the topic.')
output topicId string = topic.id
