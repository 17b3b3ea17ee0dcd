// A virtual network for the app, and private endpoints for everything that it calls in Azure. The app itself stays reachable:
// Event Grid and the senders of webhooks call it from public addresses.

@description('Name of the installation and the suffix that makes names unique.')
param suffix string

@description('Region of the resources.')
param location string

@description('Tags put on every resource.')
param tags object

@description('Addresses of the network (CIDR).')
param addressPrefix string

@description('Addresses within it that the app calls from.')
param appSubnetPrefix string

@description('Addresses within it of the private endpoints.')
param endpointSubnetPrefix string

@description('Whether calls to the outside come from one address that does not change.')
param natGateway bool

@description('Id of the storage account.')
param storageId string

@description('Id of the SQL server.')
param sqlServerId string

@description('Id of the key vault.')
param vaultId string

resource publicAddress 'Microsoft.Network/publicIPAddresses@2024-05-01' = if (natGateway) {
  name: 'pip-${suffix}'
  location: location
  tags: tags
  sku: {
    name: 'Standard'
  }
  properties: {
    publicIPAllocationMethod: 'Static'
  }
}

resource nat 'Microsoft.Network/natGateways@2024-05-01' = if (natGateway) {
  name: 'ng-${suffix}'
  location: location
  tags: tags
  sku: {
    name: 'Standard'
  }
  properties: {
    publicIpAddresses: [
      {
        id: publicAddress.id
      }
    ]
  }
}

resource network 'Microsoft.Network/virtualNetworks@2024-05-01' = {
  name: 'vnet-${suffix}'
  location: location
  tags: tags
  properties: {
    addressSpace: {
      addressPrefixes: [addressPrefix]
    }
    subnets: [
      {
        name: 'app'
        properties: {
          addressPrefix: appSubnetPrefix
          delegations: [
            {
              name: 'app'
              properties: {
                serviceName: 'Microsoft.App/environments' // what Flex Consumption needs, and no other plan
              }
            }
          ]
          natGateway: natGateway ? { id: nat.id } : null
        }
      }
      {
        name: 'endpoints'
        properties: {
          addressPrefix: endpointSubnetPrefix
        }
      }
    ]
  }
}

var storageSuffix = environment().suffixes.storage
var endpoints = [
  { name: 'blob', target: storageId, group: 'blob', zone: 'privatelink.blob.${storageSuffix}' }
  { name: 'queue', target: storageId, group: 'queue', zone: 'privatelink.queue.${storageSuffix}' }
  { name: 'table', target: storageId, group: 'table', zone: 'privatelink.table.${storageSuffix}' }
  { name: 'dfs', target: storageId, group: 'dfs', zone: 'privatelink.dfs.${storageSuffix}' } // how a lake is read
  { name: 'sql', target: sqlServerId, group: 'sqlServer', zone: 'privatelink${environment().suffixes.sqlServerHostname}' }
  { name: 'vault', target: vaultId, group: 'vault', zone: 'privatelink.vaultcore.azure.net' }
]

resource zones 'Microsoft.Network/privateDnsZones@2020-06-01' = [
  for endpoint in endpoints: {
    name: endpoint.zone
    location: 'global'
    tags: tags
  }
]

resource links 'Microsoft.Network/privateDnsZones/virtualNetworkLinks@2020-06-01' = [
  for (endpoint, place) in endpoints: {
    parent: zones[place]
    name: network.name
    location: 'global'
    tags: tags
    properties: {
      registrationEnabled: false
      virtualNetwork: {
        id: network.id
      }
    }
  }
]

@batchSize(1) // an account refuses a second one while it makes the first
resource privateEndpoints 'Microsoft.Network/privateEndpoints@2024-05-01' = [
  for endpoint in endpoints: {
    name: 'pe-${suffix}-${endpoint.name}'
    location: location
    tags: tags
    properties: {
      subnet: {
        id: '${network.id}/subnets/endpoints'
      }
      privateLinkServiceConnections: [
        {
          name: endpoint.name
          properties: {
            privateLinkServiceId: endpoint.target
            groupIds: [endpoint.group]
          }
        }
      ]
    }
  }
]

resource records 'Microsoft.Network/privateEndpoints/privateDnsZoneGroups@2024-05-01' = [
  for (endpoint, place) in endpoints: {
    parent: privateEndpoints[place]
    name: 'default'
    properties: {
      privateDnsZoneConfigs: [
        {
          name: endpoint.name
          properties: {
            privateDnsZoneId: zones[place].id
          }
        }
      ]
    }
  }
]

@description('Id of the subnet that the app calls from.')
output appSubnetId string = '${network.id}/subnets/app'
