// A sample, which azd uses, too. Set the variables, or copy the file, change the path of the template and write values.
// No secret belongs here: secretSettings has names of secrets in the key vault.

using 'main.bicep'

param sqlAdminName = readEnvironmentVariable('SLUICE_SQL_ADMIN_NAME', '')
param sqlAdminObjectId = readEnvironmentVariable('SLUICE_SQL_ADMIN_OBJECT_ID', '')
param sqlAdminType = readEnvironmentVariable('SLUICE_SQL_ADMIN_TYPE', 'Group')
param alertEmail = readEnvironmentVariable('SLUICE_ALERT_EMAIL', '')

// param coolrClient = 'Contoso'
// param coolrWebhookHosts = 'exports.example.com'
// param uploaders = ['00000000-0000-0000-0000-000000000000']
// param secretSettings = { COOLR_WEBHOOK_SECRET: 'coolr-webhook-secret' }
// param extraSettings = { STUCK_AFTER: '28800' }
// param monthlyBudget = 300
