<#
.SYNOPSIS
  Proves that nothing in vCenters uses an old key provider any more.

.DESCRIPTION
  What `holdfast vcenter verify` does, over PowerCLI. It only reads. It ends without an error only if both providers exist,
  in each vCenter, everything could be read, nothing uses the old provider, and something uses the new one. An empty inventory
  is an error, and so are a locked machine that shows no key, and a vSAN datastore without a vSAN cluster in its vCenter.
  A key of the old provider that only vCenter's own list has is an error too: something that uses it was not seen. The work is done by deploy/powercli/holdfast-keys-in-use.ps1.

  A vSAN cluster whose provider was switched shows the new provider for its old keys, until a shallow re-key has ended: see
  that holdfast-move.ps1 ended without an error for it, and that "holdfast key show INSTANCE KEY" finds each vSAN KEK and host
  key that holdfast-audit.ps1 lists.

  Not run by the project's tests: they have no vCenter and no PowerCLI. Written for PowerCLI 13 and vCenter 8.0 or newer.

.PARAMETER VCenter
  The vCenters whose keys are in the instance: all of them, by the names given to Connect-VIServer.

.PARAMETER OldProvider
  The key provider that is to be removed.

.PARAMETER NewProvider
  The key provider that has taken its place.

.EXAMPLE
  Connect-VIServer vc1.example, vc2.example
  ./holdfast-verify.ps1 -VCenter vc1.example, vc2.example -OldProvider ibm -NewProvider holdfast
#>
[CmdletBinding()]
param(
  [Parameter(Mandatory = $true)][string[]]$VCenter,
  [Parameter(Mandatory = $true)][string]$OldProvider,
  [Parameter(Mandatory = $true)][string]$NewProvider
)

$ErrorActionPreference = 'Stop'
$inUse = Join-Path $PSScriptRoot '../../deploy/powercli/holdfast-keys-in-use.ps1'
if (-not (Test-Path $inUse)) { throw "$inUse is missing: copy the folders scripts and deploy together" }
if ($OldProvider -eq $NewProvider) { throw '-NewProvider is the old one' }

# A name that a vCenter does not have, such as one that is spelled otherwise there, would be proven unused.
foreach ($server in $global:DefaultVIServers | Where-Object { $_.IsConnected }) {
  $known = @(Get-KeyProvider -Server $server | ForEach-Object { $_.Name })
  foreach ($name in $OldProvider, $NewProvider) {
    if ($known -notcontains $name) { throw "$($server.Name): has no key provider $name; it has $($known -join ', ')" }
  }
}
& $inUse -VCenter $VCenter -OldProvider $OldProvider -NewProvider $NewProvider
