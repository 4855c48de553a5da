/** Where this API's document is not that of the original, and why. A line that no longer matches fails the test. */
export const DIFFERENCES: readonly { readonly matches: RegExp; readonly reason: string }[] = [
  {
    matches: /debug\/(verify|recover): only ours$/,
    reason: 'comparing the copies of a volume, and making its membership anew, are additions',
  },
  {
    matches: /debug\/lost-volumes(\/\{id\})?: only ours$/,
    reason: 'bringing back volumes that etcd has lost is an addition',
  },
  {
    matches: /^GET \/operations: only ours$/,
    reason: 'what the cluster is doing is an addition',
  },
  {
    matches: /^POST \/k8s\/scheduler\/(filter|prioritize): only ours$/,
    reason: 'the original has them as well, for kube-scheduler, and does not document them',
  },
  {
    matches: /^GET .*\/volumes\/\{id\}\/deployments: only ours$/,
    reason:
      'what the scrub of each copy has found is an addition; a volume is shown without asking the nodes of its copies',
  },
  {
    matches: /^GET \/diagnostics\/\{id\}\/local: only ours$/,
    reason: 'how a node gets the parts of the others',
  },
  {
    matches: /^GET \/diagnostics\/\{id\}: status 40[04] only ours$/,
    reason: 'there is no bundle of a node that does not exist',
  },
  {
    matches: /^POST \/auth\/login: status 429 only ours$/,
    reason: 'guessing passwords is slowed down; the original had no limit',
  },
  {
    matches: /^POST \/auth\/refresh: status 403 only ours$/,
    reason: 'every endpoint that needs a session is documented with 401 and 403',
  },
  {
    matches: /^(GET \/(users|nodes)\/\{id\}|GET .*\/volumes): status 400 only ours$/,
    reason: 'an id that is no UUID is malformed; the original leaves the status out for some endpoints',
  },
  {
    matches: /^(GET|POST) \/namespaces\/\{namespaceID\}\/volumes: status 404 only ours$/,
    reason: 'a namespace that does not exist has no list of volumes',
  },
  {
    matches: /^(PUT|DELETE) \/users\/(\{id\}|self): status 409 only ours$/,
    reason: 'the last administrator stays, and a group must exist',
  },
  {
    matches: /^DELETE \/users\/self\/sessions: status 400 missing$/,
    reason: 'the request has no part that could be malformed',
  },
  {
    matches: /^(POST \/namespaces|POST \/policies) request: field name required$/,
    reason: 'the original refuses it without a name as well, though its document does not say so',
  },
  {
    matches: /\/policies(\/\{id\})? request\.specs\[\]: field (namespaceID|resourceType) required$/,
    reason: 'a policy for nothing is a mistake',
  },
  {
    matches: /resourceType: value (cluster|namespace|node|user) only ours$/,
    reason: 'the original accepts these types for new groups and leaves them out of what it shows',
  },
  {
    matches: /request: field (nodeID|sizeBytes|key) required$/,
    reason: 'the request says nothing without it',
  },
  {
    matches: /^response Node: field unusableCopies only ours$/,
    reason: 'copies that a node cannot open, an addition',
  },
  {
    matches: /^response CapacityStats: field reserved only ours$/,
    reason: 'bytes that volumes leave free, an addition',
  },
  {
    matches: /^response SyncProgress: field bytesTotal only ours$/,
    reason: 'of what is left nobody can tell how far a replica is without what there was, an addition',
  },
  {
    matches: /^response Volume: field readOnly only ours$/,
    reason: 'what the health of the master does not say, an addition',
  },
  {
    matches: /^PUT \/nodes\/\{id\}: parameter query ignore-version only ours$/,
    reason: 'versions before 2.4 had it, and clients still send it',
  },
  {
    matches: /^(POST \/pools|PUT .*\/nfs\/(mount-endpoint|export-config)): status 422 only ours$/,
    reason: 'this version has neither pools of drives nor NFS, and refuses in words',
  },
  { matches: /^DELETE \/pools\/\{id\}: status 202 missing$/, reason: 'nothing about it takes long' },
  {
    matches: /^response Volume: field (topologyLabels|snapshotConfig|snapshotVolumes|parentInfo) missing$/,
    reason: 'this version has no snapshots and no fixed topologies; clients take an absent field for an empty one',
  },
  {
    matches: /\/(attach|nfs\/[a-z-]+|preferred-eviction-candidates|add-deployment-on-node): status 503 only ours$/,
    reason: 'etcd can be away there as well; the original forgot it',
  },
  {
    matches: /^(PUT|POST|DELETE) .*\/volumes\/\{id\}(\/attach|\/nfs\/[a-z-]+)?: status 202 only ours$/,
    reason: 'async-max is accepted there, and what is asynchronous is accepted with 202; the original answers so, too',
  },
  {
    matches: /^POST .*\/\{id\}\/attach: parameter (header|query) async-max only ours$/,
    reason: 'attaching can take as long as detaching, where the original has it',
  },
  {
    matches: /add-deployment-on-node: status 422 only ours$/,
    reason: 'a volume that is being deleted gets no further copy',
  },
  { matches: /^GET \/openapi: status 500 only ours$/, reason: 'every endpoint may have a defect' },
];
