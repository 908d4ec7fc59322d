<#
.SYNOPSIS
  Lists everything in vCenters that uses a key, and writes the list for `holdfast key orphans --in-use`.

.DESCRIPTION
  What `holdfast vcenter audit` does, over PowerCLI. It only reads. It fails, and writes no file, if anything could not be
  read, or if nothing uses a key. The work is done by deploy/powercli/holdfast-keys-in-use.ps1.

  Not run by the project's tests: they have no vCenter and no PowerCLI. Written for PowerCLI 13 and vCenter 8.0 or newer.

.PARAMETER VCenter
  The vCenters whose keys are in the instance: all of them, by the names given to Connect-VIServer.

.PARAMETER KeysFile
  Writes the identifiers of all keys in use to this file, which must not exist, one on each line.

.EXAMPLE
  Connect-VIServer vc1.example, vc2.example
  ./holdfast-audit.ps1 -VCenter vc1.example, vc2.example -KeysFile in-use.txt
#>
[CmdletBinding()]
param(
  [Parameter(Mandatory = $true)][string[]]$VCenter,
  [string]$KeysFile
)

$ErrorActionPreference = 'Stop'
$inUse = Join-Path $PSScriptRoot '../../deploy/powercli/holdfast-keys-in-use.ps1'
if (-not (Test-Path $inUse)) { throw "$inUse is missing: copy the folders scripts and deploy together" }
if ($KeysFile -and (Test-Path $KeysFile)) { throw "$KeysFile exists already" }

# It fails by itself if something was not read, or if there is nothing.
$rows = @(& $inUse -VCenter $VCenter)
$keys = @($rows | Where-Object { $_.KeyId } | ForEach-Object { $_.KeyId } | Sort-Object -Unique)
if ($keys.Count -eq 0) { throw 'no key is in use: no file is written, since every key would be an orphan' }
$rows | Sort-Object Kind, Name
if ($KeysFile) {
  Set-Content -Path $KeysFile -Value $keys -Encoding ascii
  Write-Host "$KeysFile has $($keys.Count) keys in use"
}
