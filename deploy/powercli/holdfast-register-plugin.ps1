<#
.SYNOPSIS
  Registers a Holdfast node as a remote plug-in of the vSphere Client, updates the registration, or removes it.

.DESCRIPTION
  It changes one thing in vCenter: the extension with this key. Run it again with the same parameters after the
  node's certificate was renewed: vCenter remembers the certificate's thumbprint.

  It prints vCenter's identifier, which the node needs in admin.console.vcenters.

  Not run by the project's tests: they have no vCenter and no PowerCLI. Written for PowerCLI 13 and vCenter 8.0 or
  newer. It needs the privileges Extension.Register, Extension.Update and Extension.Unregister.

.PARAMETER VCenter
  The vCenter, by the name given to Connect-VIServer.

.PARAMETER Url
  The address of the manifest at the node, such as https://kms-a1.example:8443/console/plugin.json.

.PARAMETER CertificateFile
  PEM file with the certificate of the node's management API (admin.tls.certificate), which you have copied from the
  node yourself: vCenter accepts this certificate and no other.

.PARAMETER AdminEmail
  Whom vCenter names as responsible for the plug-in.

.PARAMETER Version
  The version of the plug-in. vCenter may read a changed manifest only if the version is another one: give that of
  Holdfast.

.PARAMETER Key
  The name of the extension in vCenter.

.PARAMETER Remove
  Removes the extension.

.EXAMPLE
  Connect-VIServer vc1.example
  ./holdfast-register-plugin.ps1 -VCenter vc1.example -Url https://kms-a1.example:8443/console/plugin.json -CertificateFile kms-a1.pem -AdminEmail kms@example.com

.EXAMPLE
  ./holdfast-register-plugin.ps1 -VCenter vc1.example -Remove
#>
[CmdletBinding()]
param(
  [Parameter(Mandatory = $true)][string]$VCenter,
  [string]$Url,
  [string]$CertificateFile,
  [string]$AdminEmail,
  [string]$Version = '0.1.0',
  [string]$Key = 'io.holdfast.console',
  [switch]$Remove
)

$ErrorActionPreference = 'Stop'
$company = 'Holdfast'

# 1. The named vCenter is connected.
$servers = @($global:DefaultVIServers | Where-Object { $_.IsConnected -and $_.Name -eq $VCenter })
if ($servers.Count -ne 1) { throw "vCenter $VCenter is not connected: run Connect-VIServer $VCenter" }
$content = (Get-View -Server $servers[0] -Id 'ServiceInstance').Content
$manager = Get-View -Server $servers[0] -Id $content.ExtensionManager
$found = $manager.FindExtension($Key)
Write-Host "vCenter's identifier, for guid in admin.console.vcenters: $($content.About.InstanceUuid)"

# 2. Remove it, where that is asked.
if ($Remove) {
  if (-not $found) { throw "$VCenter has no extension $Key" }
  $manager.UnregisterExtension($Key)
  Write-Host "Removed: $Key. Sign in to the vSphere Client again."
  return
}

# 3. Describe it. The thumbprint is that of the file, and not of what a server shows now.
if ($Url -notmatch '^https://[^/]+/console/plugin\.json$') { throw '-Url must be https://HOST:PORT/console/plugin.json' }
if (-not $CertificateFile -or -not $AdminEmail) { throw '-CertificateFile and -AdminEmail are needed' }
$path = (Resolve-Path -LiteralPath $CertificateFile).Path
$certificate = New-Object System.Security.Cryptography.X509Certificates.X509Certificate2 -ArgumentList $path
if ($certificate.NotAfter -lt (Get-Date)) { throw "the certificate has expired: $($certificate.NotAfter)" }
$digest = [System.Security.Cryptography.SHA256]::Create().ComputeHash($certificate.RawData)
$thumbprint = ($digest | ForEach-Object { $_.ToString('X2') }) -join ':'

$description = New-Object VMware.Vim.Description
$description.Label = 'Holdfast'
$description.Summary = 'Shows which keys of a machine, host or cluster Holdfast holds'

$client = New-Object VMware.Vim.ExtensionClientInfo
$client.Type = 'vsphere-client-remote'
$client.Url = $Url
$client.Version = $Version
$client.Company = $company
$client.Description = $description

# One server has the manifest and the pages.
$server = New-Object VMware.Vim.ExtensionServerInfo
$server.Type = 'MANIFEST_SERVER'
$server.Url = $Url
$server.AdminEmail = @($AdminEmail)
$server.Company = $company
$server.Description = $description
$server.ServerThumbprint = $thumbprint

$extension = New-Object VMware.Vim.Extension
$extension.Key = $Key
$extension.Version = $Version
$extension.Company = $company
$extension.Description = $description
$extension.Client = @($client)
$extension.Server = @($server)
$extension.LastHeartbeatTime = (Get-Date).ToUniversalTime()

# 4. Register it, or change what is registered.
if ($found) { $manager.UpdateExtension($extension) } else { $manager.RegisterExtension($extension) }
$done = 'Registered'
if ($found) { $done = 'Updated' }
Write-Host "${done}: $Key, version $Version, $Url, certificate $thumbprint, valid until $($certificate.NotAfter)."
Write-Host 'Sign in to the vSphere Client again. It loads the plug-in by itself, which may take some minutes.'
