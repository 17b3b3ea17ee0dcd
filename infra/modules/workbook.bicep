// A workbook: what ran, what failed, how long it took, and what was alerted, read from the log of the app.

@description('Region of the workbook.')
param location string

@description('Tags put on the workbook.')
param tags object

@description('Id of the workspace that has the log of the app.')
param workspaceId string

resource runs 'Microsoft.Insights/workbooks@2023-06-01' = {
  name: guid(workspaceId, 'runs')
  location: location
  tags: tags
  kind: 'shared'
  properties: {
    displayName: 'Sluice: runs'
    category: 'workbook'
    sourceId: workspaceId
    serializedData: loadTextContent('runs.workbook.json')
  }
}

@description('Id of the workbook.')
output id string = runs.id
