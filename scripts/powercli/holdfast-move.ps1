<#
.SYNOPSIS
  Re-keys everything in a vCenter from one key provider to another.

.DESCRIPTION
  What `holdfast vcenter move` does, over PowerCLI, in the same order: machines, templates, vSAN, hosts. Each re-key is shallow:
  no disk is encrypted again. It only prints its plan unless -Apply is given. What has the new provider already is left
  alone, so a second run continues. Do not run two at the same time. One thing at a time; after five failures in a row it stops. It ends with an error if
  anything is left. Then holdfast-verify.ps1 is the proof, for vSAN only together with the
  check that it names.

  It leaves to you: running machines with changed block tracking, unless -TrackedToo is given; locked machines; snapshots that keep
  old keys; first-class disks, which no cmdlet re-keys; vSAN clusters that -Vsan does not name, also those that have the
  new provider already, since their keys may still be the old ones; policies of clusters,
  and default providers. A template that a killed run left as a machine must be made a template by you: the last line that
  begins with "template" names it.

  Not run by the project's tests: they have no vCenter and no PowerCLI. Written for PowerCLI 13 and vCenter 8.0 or newer.

.PARAMETER VCenter
  The vCenter, by the name given to Connect-VIServer. No other one may be connected.

.PARAMETER From
  The key provider that is used now.

.PARAMETER To
  The key provider that gives the new keys. It must be active.

.PARAMETER Machine
  Only these machines and templates: try one first.

.PARAMETER Vsan
  The vSAN clusters to move. See that the health of vSAN is green first.

.PARAMETER TrackedToo
  Re-keys running machines with changed block tracking too: vSphere before 8.0 Update 3e may power them off (article 387897).

.PARAMETER Apply
  Does it. Without this, nothing is changed.

.EXAMPLE
  Connect-VIServer vc1.example
  ./holdfast-move.ps1 -VCenter vc1.example -From ibm -To holdfast -Machine test-1
  ./holdfast-move.ps1 -VCenter vc1.example -From ibm -To holdfast -Apply
#>
[CmdletBinding()]
param(
  [Parameter(Mandatory = $true)][string]$VCenter,
  [Parameter(Mandatory = $true)][string]$From,
  [Parameter(Mandatory = $true)][string]$To,
  [string[]]$Machine,
  [string[]]$Vsan = @(),
  [switch]$TrackedToo,
  [switch]$Apply
)

$ErrorActionPreference = 'Stop'
$count = @{ done = 0; failed = 0; inRow = 0 }

function Test-Old($Key) { return [bool]($Key -and $Key.ProviderId.Id -eq $From) }

# The encrypted disks of a configuration, and whether its home or a disk with its parents is under the old provider.
function Get-State($Config) {
  if (-not $Config -or -not $Config.Hardware) { throw 'it has no configuration (orphaned, inaccessible, or no permission)' }
  $disks = @($Config.Hardware.Device | Where-Object { $_.GetType().Name -eq 'VirtualDisk' -and $_.Backing.KeyId })
  $old = Test-Old $Config.KeyId
  foreach ($disk in $disks) {
    for ($backing = $disk.Backing; $backing; $backing = $backing.Parent) { if (Test-Old $backing.KeyId) { $old = $true } }
  }
  return @{ Disks = $disks.Count; Old = $old }
}

# Does a step, or prints it. A failure does not stop the others, unless they all fail.
function Invoke-Step([string]$What, [scriptblock]$Step) {
  if (-not $Apply) { Write-Host "re-key $What"; return }
  try {
    & $Step
    $count.done++
    $count.inRow = 0
    Write-Host "done: $What"
  } catch {
    $count.failed++
    $count.inRow++
    Write-Warning "failed: ${What}: $($_.Exception.Message)"
    if ($count.inRow -ge 5) { throw 'stopped after five failures in a row' }
  }
}

function Set-Left([string]$What) {
  $count.failed++
  Write-Warning "left to you: $What"
}

# Why a machine must not or cannot be re-keyed now; nothing if it can.
function Get-Obstacle($Vm) {
  if ("$($Vm.ExtensionData.Runtime.CryptoState)" -eq 'locked') { return 'locked: unlock it in the vSphere Client first' }
  if ($Vm.ExtensionData.Config.ChangeTrackingEnabled -and "$($Vm.PowerState)" -ne 'PoweredOff' -and -not $TrackedToo) {
    return 'it runs with changed block tracking: power it off first, or give -TrackedToo'
  }
}

# A machine with only a virtual TPM has no encrypted disk, and must get none.
function Set-MachineKey($Vm) {
  $state = Get-State $Vm.ExtensionData.Config
  Set-VM -VM $Vm -KeyProvider $provider -SkipHardDisks:($state.Disks -eq 0) -Confirm:$false | Out-Null
  $Vm.ExtensionData.UpdateViewData('Config')
  if ((Get-State $Vm.ExtensionData.Config).Old) { throw 'vCenter says that it is done, and a part still has its old key' }
}

# No re-key reaches a snapshot.
function Set-SnapshotsLeft([string]$Name, $Tree) {
  foreach ($node in $Tree) {
    try {
      $config = (Get-View -Server $server -Id $node.Snapshot -Property Config).Config
      if ((Get-State $config).Old) { Set-Left "snapshot $Name/$($node.Name): keeps keys of ${From}: delete it, or keep $From" }
    } catch { Set-Left "snapshot $Name/$($node.Name): $($_.Exception.Message)" }
    Set-SnapshotsLeft $Name $node.ChildSnapshotList
  }
}

function Get-VsanKeys($Cluster) {
  $view = Get-VsanView -Server $server -Id 'VsanVcClusterConfigSystem-vsan-cluster-config-system'
  return $view.VsanClusterGetConfig($Cluster.ExtensionData.MoRef).DataEncryptionConfig
}

# 1. Exactly this vCenter is connected, and both providers are there.
$connected = @($global:DefaultVIServers | Where-Object { $_.IsConnected })
if ($connected.Count -ne 1 -or $connected[0].Name -ne $VCenter) { throw "connect to $VCenter, and to no other vCenter" }
$server = $connected[0]
if ($From -eq $To) { throw '-To is the provider of -From' }
Get-KeyProvider -Server $server -Name $From | Out-Null
$provider = Get-KeyProvider -Server $server -Name $To
$crypto = Get-View -Server $server -Id (Get-View -Server $server -Id 'ServiceInstance').Content.CryptoManager
$providerId = New-Object VMware.Vim.KeyProviderId
$providerId.Id = $To
if (-not $crypto.IsKmsClusterActive($providerId)) { throw "$To is not active in this vCenter, so machines would not get its keys" }

# 2. Machines, then templates: what fails is found before a template is changed.
$machines = @(Get-VM -Server $server | Where-Object { -not $Machine -or $Machine -contains $_.Name })
$templates = @(Get-Template -Server $server | Where-Object { -not $Machine -or $Machine -contains $_.Name })
foreach ($name in $Machine) {
  $found = @(@($machines) + @($templates) | Where-Object { $_.Name -eq $name })
  if ($found.Count -ne 1) { throw "-Machine ${name}: this vCenter has $($found.Count) machines of this name" }
}
foreach ($vm in $machines) {
  try { $state = Get-State $vm.ExtensionData.Config } catch { Set-Left "machine $($vm.Name): $($_.Exception.Message)"; continue }
  if (-not $state.Old) { continue }
  $obstacle = Get-Obstacle $vm
  # Not a failure: five such machines must not keep the others from being moved.
  if ($obstacle) { Set-Left "machine $($vm.Name): $obstacle"; continue }
  Invoke-Step "machine $($vm.Name) ($($state.Disks) encrypted disks)" { Set-MachineKey $vm }
}
foreach ($template in $templates) {
  try { $state = Get-State $template.ExtensionData.Config } catch { Set-Left "template $($template.Name): $($_.Exception.Message)"; continue }
  if (-not $state.Old) { continue }
  Invoke-Step "template $($template.Name)" {
    Write-Host "template $($template.Name) is a machine for a moment"
    $vm = Set-Template -Template $template -ToVM
    try { Set-MachineKey $vm } finally { Set-VM -VM $vm -ToTemplate -Confirm:$false | Out-Null }
  }
}

if (-not $Machine) {
  # 3. vSAN: first the provider, then a new KEK. Its keys are compared, since vCenter shows one provider for all of them.
  $clusters = @(Get-Cluster -Server $server)
  foreach ($name in $Vsan) { if ($clusters.Name -notcontains $name) { throw "-Vsan ${name}: this vCenter has no such cluster" } }
  foreach ($cluster in $clusters) {
    # A cluster that shows nothing of vSAN is asked.
    $shown = $cluster.ExtensionData.ConfigurationEx.VsanConfigInfo
    if ($shown -and -not $shown.Enabled) { continue }
    try { $before = Get-VsanKeys $cluster } catch { Set-Left "vSAN of cluster $($cluster.Name): $($_.Exception.Message)"; continue }
    if (-not $before.EncryptionEnabled) { continue }
    $named = $Vsan -contains $cluster.Name
    if ($before.KmsProviderId.Id -ne $From -and $before.KmsProviderId.Id -ne $To) { continue }
    if (-not $named -and $before.KmsProviderId.Id -eq $To) {
      Set-Left "vSAN of cluster $($cluster.Name): its provider is $To already, but its keys may be old: if 'holdfast key show INSTANCE KEY' finds $($before.KekId) and $($before.HostKeyId), it is done; else give -Vsan"
      continue
    }
    if (-not $named) { Set-Left "vSAN of cluster $($cluster.Name): give -Vsan"; continue }
    Invoke-Step "vSAN of cluster $($cluster.Name)" {
      if ($before.KmsProviderId.Id -ne $To) { Start-VsanEncryptionConfiguration -Cluster $cluster -KeyProvider $provider -Confirm:$false | Out-Null }
      Start-VsanEncryptionConfiguration -Cluster $cluster -ShallowRekey -Confirm:$false | Out-Null
      $after = Get-VsanKeys $cluster
      if (-not $after.KekId -or -not $after.HostKeyId) { throw 'its KEK or its host key is not shown, so it may be the old one: keep the old provider, see that the health of vSAN is green, and run this again' }
      if ($after.KmsProviderId.Id -ne $To -or $after.KekId -eq $before.KekId -or $after.HostKeyId -eq $before.HostKeyId) {
        throw 'its KEK or its host key is still the old one: keep the old provider, and make new keys in the vSphere Client'
      }
    }
  }

  # 4. Hosts.
  foreach ($vmhost in Get-VMHost -Server $server) {
    if (-not (Test-Old $vmhost.ExtensionData.Runtime.CryptoKeyId)) { continue }
    Invoke-Step "host $($vmhost.Name)" { Set-VMHost -VMHost $vmhost -KeyProvider $provider -Confirm:$false | Out-Null }
  }

  # 5. First-class disks.
  $manager = Get-View -Server $server -Id (Get-View -Server $server -Id 'ServiceInstance').Content.VStorageObjectManager
  foreach ($datastore in Get-View -Server $server -ViewType Datastore -Property 'Name', 'Summary') {
    if (-not $datastore.Summary.Accessible) { Set-Left "datastore $($datastore.Name): not accessible"; continue }
    foreach ($id in $manager.ListVStorageObject($datastore.MoRef)) {
      $disk = $manager.RetrieveVStorageObject($id, $datastore.MoRef, $null)
      $old = $false
      for ($backing = $disk.Config.Backing; $backing; $backing = $backing.Parent) { if (Test-Old $backing.KeyId) { $old = $true } }
      if ($old) { Set-Left "first-class disk $($disk.Config.Name): no cmdlet re-keys it; holdfast vcenter move does" }
    }
  }
}

# 6. Snapshots.
foreach ($vm in @($machines) + @($templates)) {
  if ($vm.ExtensionData.Snapshot) { Set-SnapshotsLeft $vm.Name $vm.ExtensionData.Snapshot.RootSnapshotList }
}

if (-not $Apply) { Write-Host 'Nothing was changed: give -Apply to do it.'; return }
Write-Host "$($count.done) things were moved. Policies of clusters and default providers are changed in vCenter; then run holdfast-verify.ps1."
if ($count.failed -gt 0) { throw "$($count.failed) things were not moved (see the warnings): run this again once the cause is gone" }
