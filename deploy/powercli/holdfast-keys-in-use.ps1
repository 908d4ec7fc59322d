<#
.SYNOPSIS
  Lists every vSphere key in use, or proves that nothing uses an old key provider any more.

.DESCRIPTION
  It only reads, and changes nothing in vCenter. It looks at virtual machines and templates (home, each virtual
  disk with its parents, each snapshot), hosts, clusters, vSAN (KEK and host key), first-class disks, and
  the keys that vCenter itself lists.

  It stops with an error, and writes no file, when
  - one of the named vCenters is not connected, or another one is,
  - anything could not be read (a machine without configuration, a host that does not answer, ...),
  - a machine is locked (Runtime.CryptoState) and shows no key,
  - a vCenter shows a vSAN datastore, and no cluster with vSAN: the cluster is hidden, with its KEK and host key,
  - it saw no host and no machine, or found no key at all.

  It does not see: machines and disks that no named vCenter has registered, backups and replicas, snapshots
  of first-class disks, memory dumps that were made under an earlier host key. Of a vSAN cluster vCenter shows only the
  provider: after it was switched and before the re-key, old keys are listed as keys of the new one. So ask Holdfast
  for each vSAN KEK and host key that is listed: holdfast key show INSTANCE KEY.

  Not run by the project's tests: they have no vCenter and no PowerCLI. Written for PowerCLI 13 and vCenter
  8.0 or newer. Run it with a role that can read everything: a missing permission hides keys.

.PARAMETER VCenter
  The vCenters whose keys are in the instance: all of them, by the names given to Connect-VIServer.

.PARAMETER KeysFile
  Writes the identifiers of all keys in use to this file, one on each line: for `holdfast key orphans --in-use`.

.PARAMETER OldProvider
  Fails if anything still uses the key provider of this name, and shows what.

.PARAMETER NewProvider
  Needed with OldProvider: at least one thing must use this provider, or the check proves nothing.

.PARAMETER AcceptUnread
  Patterns of objects that could not be read and that you have checked yourself, for instance 'datastore iso:*'.

.EXAMPLE
  Connect-VIServer vc1.example, vc2.example
  ./holdfast-keys-in-use.ps1 -VCenter vc1.example, vc2.example -KeysFile in-use.txt

.EXAMPLE
  ./holdfast-keys-in-use.ps1 -VCenter vc1.example -OldProvider ibm -NewProvider holdfast
#>
[CmdletBinding()]
param(
  [Parameter(Mandatory = $true)][string[]]$VCenter,
  [string]$KeysFile,
  [string]$OldProvider,
  [string]$NewProvider,
  [string[]]$AcceptUnread = @()
)

$ErrorActionPreference = 'Stop'
$rows = New-Object System.Collections.Generic.List[object]
$unread = New-Object System.Collections.Generic.List[string]
$seen = @{ machines = 0; templates = 0; snapshots = 0; disks = 0; hosts = 0; clusters = 0; vsan = 0; datastores = 0; vsanDatastores = 0; fcds = 0 }

function Add-Use([string]$Kind, [string]$Name, [string]$KeyId, [string]$Provider) {
  if ($KeyId -or $Provider) {
    $rows.Add([pscustomobject]@{ Kind = $Kind; Name = $Name; Provider = $Provider; KeyId = $KeyId })
  }
}

function Add-KeyUse([string]$Kind, [string]$Name, $Key) {
  if ($Key) { Add-Use $Kind $Name $Key.KeyId $Key.ProviderId.Id }
}

# Runs a step. Objects that it cannot read are noted, and make the script fail at the end.
function Read-Part([string]$What, [scriptblock]$Step) {
  try { & $Step } catch { $unread.Add("${What}: $($_.Exception.Message)") }
}

# A machine's home, its disks, and the parents of its disks.
function Add-Configuration([string]$Kind, [string]$Name, $Config) {
  if (-not $Config -or -not $Config.Hardware) {
    $unread.Add("$Kind ${Name}: no configuration (orphaned, inaccessible, or no permission)")
    return
  }
  Add-KeyUse $Kind $Name $Config.KeyId
  foreach ($device in $Config.Hardware.Device) {
    if ($device.GetType().Name -ne 'VirtualDisk') { continue }
    $seen.disks++
    for ($backing = $device.Backing; $backing; $backing = $backing.Parent) {
      Add-KeyUse "disk of $Kind" "${Name}: $($backing.FileName)" $backing.KeyId
    }
  }
}

function Add-Snapshots($Server, [string]$Name, $Tree) {
  foreach ($node in $Tree) {
    $seen.snapshots++
    Read-Part "snapshot $($node.Name) of $Name" {
      $snapshot = Get-View -Server $Server -Id $node.Snapshot -Property Config
      Add-Configuration 'snapshot' "$Name/$($node.Name)" $snapshot.Config
    }
    Add-Snapshots $Server $Name $node.ChildSnapshotList
  }
}

function Add-Machines($Server) {
  # Templates are of this type too.
  $fields = 'Name', 'Config.Template', 'Config.KeyId', 'Config.Hardware', 'Runtime.CryptoState', 'Snapshot'
  foreach ($machine in Get-View -Server $Server -ViewType VirtualMachine -Property $fields) {
    $kind = 'machine'
    if ($machine.Config.Template) { $kind = 'template' }
    $seen["${kind}s"]++
    Add-Configuration $kind $machine.Name $machine.Config
    if ("$($machine.Runtime.CryptoState)" -eq 'locked' -and -not $machine.Config.KeyId) {
      $unread.Add("$kind $($machine.Name): is locked, and shows no key")
    }
    if ($machine.Snapshot) { Add-Snapshots $Server $machine.Name $machine.Snapshot.RootSnapshotList }
  }
}

function Add-Hosts($Server) {
  $fields = 'Name', 'Runtime.CryptoState', 'Runtime.CryptoKeyId', 'Runtime.ConnectionState'
  foreach ($vmhost in Get-View -Server $Server -ViewType HostSystem -Property $fields) {
    $seen.hosts++
    if ("$($vmhost.Runtime.ConnectionState)" -ne 'connected') {
      $unread.Add("host $($vmhost.Name): $($vmhost.Runtime.ConnectionState)")
    }
    Add-KeyUse 'host' $vmhost.Name $vmhost.Runtime.CryptoKeyId
  }
}

# The default provider of a vCenter, a cluster or a folder of hosts: new machines take their keys there.
function Add-Default($Crypto, [string]$Kind, [string]$Name, $Entity) {
  Read-Part "default key provider of $Kind $Name" {
    $default = $Crypto.GetDefaultKmsCluster($Entity, $false)
    Add-Use "default of $Kind" $Name '' $default.Id
  }
}

function Add-Defaults($Server, $Crypto) {
  Add-Default $Crypto 'vCenter' $Server.Name $null
  $fields = 'Name', 'ChildType'
  foreach ($folder in Get-View -Server $Server -ViewType Folder -Property $fields) {
    if ($folder.ChildType -contains 'ComputeResource') { Add-Default $Crypto 'folder' $folder.Name $folder.MoRef }
  }
}

function Add-Clusters($Server, $Crypto) {
  $fields = 'Name', 'ConfigurationEx'
  foreach ($cluster in Get-View -Server $Server -ViewType ClusterComputeResource -Property $fields) {
    $seen.clusters++
    if (-not $cluster.ConfigurationEx) { $unread.Add("cluster $($cluster.Name): no configuration") }
    $policy = $cluster.ConfigurationEx.CryptoConfig.Policy
    Add-KeyUse 'cluster' $cluster.Name $policy.KeyId
    Add-Use 'cluster policy' $cluster.Name '' $policy.ProviderId.Id
    Add-Default $Crypto 'cluster' $cluster.Name $cluster.MoRef
    # A cluster that shows nothing of vSAN is asked.
    $shown = $cluster.ConfigurationEx.VsanConfigInfo
    if ($shown -and -not $shown.Enabled) { continue }
    Read-Part "vSAN of cluster $($cluster.Name)" {
      $vsan = Get-VsanView -Server $Server -Id 'VsanVcClusterConfigSystem-vsan-cluster-config-system'
      $config = $vsan.VsanClusterGetConfig($cluster.MoRef)
      if ($config.Enabled) { $seen.vsan++ }
      $encryption = $config.DataEncryptionConfig
      if ($encryption.EncryptionEnabled) {
        $provider = $encryption.KmsProviderId.Id
        if (-not $encryption.KekId -or -not $encryption.HostKeyId) { throw 'encrypted, and its KekId or HostKeyId is not shown' }
        Add-Use 'vSAN KEK' $cluster.Name $encryption.KekId $provider
        Add-Use 'vSAN host key' $cluster.Name $encryption.HostKeyId $provider
      }
    }
  }
}

function Add-FirstClassDisks($Server, $Content) {
  $manager = Get-View -Server $Server -Id $Content.VStorageObjectManager
  $fields = 'Name', 'Summary'
  foreach ($datastore in Get-View -Server $Server -ViewType Datastore -Property $fields) {
    $seen.datastores++
    if ($datastore.Summary.Type -eq 'vsan') { $seen.vsanDatastores++ }
    if (-not $datastore.Summary.Accessible) {
      $unread.Add("datastore $($datastore.Name): not accessible")
      continue
    }
    Read-Part "first-class disks of datastore $($datastore.Name)" {
      foreach ($id in $manager.ListVStorageObject($datastore.MoRef)) {
        $seen.fcds++
        $disk = $manager.RetrieveVStorageObject($id, $datastore.MoRef, $null)
        for ($backing = $disk.Config.Backing; $backing; $backing = $backing.Parent) {
          Add-KeyUse 'first-class disk' $disk.Config.Name $backing.KeyId
        }
      }
    }
  }
}

# 1. Exactly the named vCenters are connected.
$connected = @($global:DefaultVIServers | Where-Object { $_.IsConnected })
foreach ($name in $VCenter) {
  if ($connected.Name -notcontains $name) { throw "vCenter $name is not connected: run Connect-VIServer $name" }
}
foreach ($server in $connected) {
  if ($VCenter -notcontains $server.Name) { throw "$($server.Name) is connected too: name it in -VCenter, or disconnect it" }
}
if ($OldProvider -and -not $NewProvider) { throw '-OldProvider needs -NewProvider' }

# 2. Look at everything.
foreach ($server in $connected) {
  $content = (Get-View -Server $server -Id 'ServiceInstance').Content
  $crypto = Get-View -Server $server -Id $content.CryptoManager
  $before = $seen.Clone()
  Add-Defaults $server $crypto
  Add-Machines $server
  Add-Hosts $server
  Add-Clusters $server $crypto
  Add-FirstClassDisks $server $content
  if ($seen.vsanDatastores -gt $before.vsanDatastores -and $seen.vsan -eq $before.vsan) {
    $unread.Add("vSAN of $($server.Name): there are vSAN datastores, and no vSAN cluster was seen")
  }
  Read-Part "keys that $($server.Name) lists" {
    foreach ($key in $crypto.ListKeys($null)) { Add-KeyUse 'listed by vCenter' $server.Name $key }
  }
}

# 3. Print what was examined. If nothing was seen, or something was not read, nothing is proven.
Write-Host "Looked at $($connected.Count) vCenters: $($seen.machines) machines, $($seen.templates) templates, $($seen.snapshots) snapshots, $($seen.disks) disks, $($seen.hosts) hosts, $($seen.clusters) clusters ($($seen.vsan) with vSAN), $($seen.datastores) datastores, $($seen.fcds) first-class disks."
$unread | ForEach-Object { Write-Warning "not read: $_" }
$open = @($unread | Where-Object { $text = $_; -not ($AcceptUnread | Where-Object { $text -like $_ }) })
if ($open.Count -gt 0) { throw "$($open.Count) things could not be read (see the warnings): the answer would not be complete" }
if ($seen.hosts -eq 0 -or ($seen.machines + $seen.templates) -eq 0) { throw 'no host or no machine was seen: check the permissions' }
$keys = @($rows | Where-Object { $_.KeyId } | ForEach-Object { $_.KeyId } | Sort-Object -Unique)
if ($keys.Count -eq 0) { throw 'no key is in use: check that this is the right vCenter' }
Write-Host "$($keys.Count) keys are in use."

# 4. The answer: rows for people, a file for holdfast, or the proof.
if ($KeysFile) {
  Set-Content -Path $KeysFile -Value $keys -Encoding ascii
  Write-Host "Written: $KeysFile"
}
if ($OldProvider) {
  $uses = @($rows | Where-Object { $_.Kind -ne 'listed by vCenter' })
  $listed = @($rows | Where-Object { $_.Kind -eq 'listed by vCenter' -and $_.Provider -eq $OldProvider })
  $new = @($uses | Where-Object { $_.Provider -eq $NewProvider -and $_.KeyId })
  $old = @($uses | Where-Object { $_.Provider -eq $OldProvider })
  $unnamed = @($uses | Where-Object { $_.KeyId -and -not $_.Provider })
  Write-Host "$($new.Count) keys in use are of $NewProvider, $($old.Count) uses are of $OldProvider, $($unnamed.Count) keys name no provider."
  $old + $unnamed | Format-Table -AutoSize | Out-Host
  if ($old.Count + $unnamed.Count -gt 0) { throw "$OldProvider is still in use, or may be: do not remove it" }
  if ($listed.Count -gt 0) {
    $listed | Format-Table -AutoSize | Out-Host
    throw "$($listed.Count) keys of $OldProvider are only in vCenter's own list: nothing that was seen uses them, so something was not seen: do not remove it"
  }
  if ($new.Count -eq 0) { throw "nothing uses $NewProvider either: this check proves nothing. Look at the names of the providers" }
  Write-Host "Nothing that these vCenters have registered uses $OldProvider."
}
if (-not $KeysFile -and -not $OldProvider) { $rows }
