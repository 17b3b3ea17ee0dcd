// A sample, which azd uses, too. Set the variables, or copy the file, change the path of the template and write values.
// infra/deploy sets those that are missing to whoever is signed in. No secret belongs here: secretSettings has names of
// secrets in the key vault.

using 'main.bicep'

param sqlAdminName = readEnvironmentVariable('SLUICE_SQL_ADMIN_NAME', '')
param sqlAdminObjectId = readEnvironmentVariable('SLUICE_SQL_ADMIN_OBJECT_ID', '')
param sqlAdminType = readEnvironmentVariable('SLUICE_SQL_ADMIN_TYPE', 'Group')
param uploaders = empty(readEnvironmentVariable('SLUICE_UPLOADER', '')) ? [] : split(readEnvironmentVariable('SLUICE_UPLOADER', ''), ',')
param alertEmail = readEnvironmentVariable('SLUICE_ALERT_EMAIL', '')

// param coolrClient = 'Contoso'
// param coolrWebhookHosts = 'exports.example.com'
// param secretSettings = { COOLR_WEBHOOK_SECRET: 'coolr-webhook-secret' }
// param extraSettings = { STUCK_AFTER: '28800' }
// param monthlyBudget = 300
