package http

import (
	"slices"
	"strings"

	"mien/engine"
	"mien/http/dialect"
)

// Roles by what they may do.
var (
	everyRole = []engine.Role{engine.RoleAdmin, engine.RoleEnroller, engine.RoleMatcher, engine.RoleAuditor}
	adminOnly = []engine.Role{engine.RoleAdmin}
	enrolling = []engine.Role{engine.RoleAdmin, engine.RoleEnroller}
	reading   = []engine.Role{engine.RoleAdmin, engine.RoleEnroller, engine.RoleAuditor}
	matching  = []engine.Role{engine.RoleAdmin, engine.RoleMatcher}
	deduping  = []engine.Role{engine.RoleAdmin, engine.RoleMatcher, engine.RoleEnroller}
	clients   = []engine.Role{engine.RoleClient}
	auditing  = []engine.Role{engine.RoleAdmin, engine.RoleAuditor}
	public    []engine.Role // no key is asked for
)

// operation is a row of the table of them.
type operation struct {
	method  string
	pattern string // literal segments and {names}
	op      string // operationId in the document
	roles   []engine.Role
	handle  func(*Server, *request) (reply, error)
}

// route is one operation: everything that is decided of a request before its body is read.
type route struct {
	operation
	segments []string         // of pattern, set by newRouter
	dialect  *dialect.Dialect // of which it is, nil for the native API
	body     bool             // a DELETE that has one

	clientsOf string // of a native one: the dialect whose clients may ask for it, where RoleClient is among the roles
}

// unbound are the operations that a key that is bound to galleries may use though their paths name none: they are about no
// gallery, or heed the key's galleries themselves. Every other such operation is refused to it, so that a new one is until
// somebody has thought of that.
var unbound = map[string]bool{"metrics": true, "createKey": true, "listKeys": true, "revokeKey": true, "rotateKey": true,
	"listGalleries": true, "compare": true, "extract": true,
	"createSession": true, "listSessions": true, "getSession": true, "cancelSession": true,
	"listJobs": true, "getJob": true, "patchJob": true, "deleteJob": true, "jobPairs": true, "jobFindings": true}

// reaches refuses a bound key what is about other galleries. It is asked before anybody looks whether the gallery is there, so
// the answer, and the time that it takes, is one whether it is or not. It is 403 and not 404 because it is no secret what a key
// is for, least of all from who has it, and who wrote the wrong name should not be told to create it. Errors: the problem forbidden.
func (rt *route) reaches(k engine.Key, params []string) error {
	if len(k.Galleries) == 0 || unbound[rt.op] {
		return nil
	}
	i := slices.Index(rt.parameters(), "{gallery}")
	if i < 0 {
		return fail(codeForbidden, "this key is bound to galleries, and this is about the whole tenant: use a key that is not bound")
	}
	if !k.MayUse(params[i]) {
		return fail(codeForbidden, "this key is bound to other galleries, which GET /v1/galleries lists: use one of those, or another key")
	}
	return nil
}

// parameters are the path's, in braces, in order.
func (rt *route) parameters() (list []string) {
	for s := range strings.SplitSeq(rt.pattern, "/") {
		if strings.HasPrefix(s, "{") {
			list = append(list, s)
		}
	}
	return list
}

func (rt *route) takesBody() bool {
	return rt.method == "POST" || rt.method == "PUT" || rt.method == "PATCH" || rt.body
}

func routesOf(operations []operation) (list []route) {
	for _, o := range operations {
		list = append(list, route{operation: o})
	}
	return list
}

// nativeRoutes are routes, and those that dialects add to them.
func nativeRoutes(all []*dialect.Dialect) (list []route) {
	list = routesOf(routes)
	for _, rt := range dialectRoutes(all) {
		if rt.dialect == nil {
			list = append(list, rt)
		}
	}
	return list
}

// routes is the native API, without what dialects add. The document (openapi.json) says the same, and a test compares them.
var routes = []operation{
	{"GET", "/healthz", "health", public, (*Server).health},
	{"GET", "/readyz", "ready", public, (*Server).ready},
	{"GET", "/openapi.json", "document", public, (*Server).document},

	{"GET", "/metrics", "metrics", auditing, (*Server).metrics},

	{"POST", "/v1/backup", "startBackup", adminOnly, (*Server).startBackup},
	{"GET", "/v1/backup", "backupStatus", adminOnly, (*Server).backupStatus},

	{"POST", "/v1/keys", "createKey", adminOnly, (*Server).createKey},
	{"GET", "/v1/keys", "listKeys", auditing, (*Server).listKeys},
	{"DELETE", "/v1/keys/{key}", "revokeKey", adminOnly, (*Server).revokeKey},
	{"POST", "/v1/keys/{key}/rotate", "rotateKey", adminOnly, (*Server).rotateKey},

	{"GET", "/v1/audit", "listAudit", auditing, (*Server).listAudit},
	{"GET", "/v1/audit/head", "auditHead", auditing, (*Server).auditHead},
	{"GET", "/v1/audit/export", "exportAudit", auditing, (*Server).exportAudit},

	{"GET", "/v1/encryption", "keyStatus", auditing, (*Server).keyStatus},
	{"POST", "/v1/encryption/rotate", "rotateTenantKey", adminOnly, (*Server).rotateTenantKey},
	{"DELETE", "/v1/encryption/rotate", "cancelRotation", adminOnly, (*Server).cancelRotation},
	{"GET", "/v1/erasure/key", "receiptKey", everyRole, (*Server).receiptKey},
	{"POST", "/v1/erasure/verify", "verifyReceipt", auditing, (*Server).verifyReceipt},
	{"POST", "/v1/erasure/prove", "proveErasure", auditing, (*Server).proveErasure},
	{"POST", "/v1/tenants/{tenant}/erase", "eraseTenant", adminOnly, (*Server).eraseTenant},

	{"GET", "/v1/galleries", "listGalleries", everyRole, (*Server).listGalleries},
	{"PUT", "/v1/galleries/{gallery}", "putGallery", adminOnly, (*Server).putGallery},
	{"GET", "/v1/galleries/{gallery}", "getGallery", everyRole, (*Server).getGallery},
	{"PATCH", "/v1/galleries/{gallery}", "patchGallery", adminOnly, (*Server).patchGallery},
	{"DELETE", "/v1/galleries/{gallery}", "deleteGallery", adminOnly, (*Server).deleteGallery},
	{"POST", "/v1/galleries/{gallery}/move", "moveGallery", adminOnly, (*Server).moveGallery},
	{"DELETE", "/v1/galleries/{gallery}/move", "cancelMove", adminOnly, (*Server).cancelMove},
	{"POST", "/v1/galleries/{gallery}/import", "importPeople", adminOnly, (*Server).importPeople},
	{"GET", "/v1/galleries/{gallery}/export", "exportPeople", adminOnly, (*Server).exportPeople},

	{"GET", "/v1/galleries/{gallery}/people", "listPeople", reading, (*Server).listPeople},
	{"PUT", "/v1/galleries/{gallery}/people/{person}", "putPerson", enrolling, (*Server).putPerson},
	{"GET", "/v1/galleries/{gallery}/people/{person}", "getPerson", reading, (*Server).getPerson},
	{"PATCH", "/v1/galleries/{gallery}/people/{person}", "patchPerson", enrolling, (*Server).patchPerson},
	{"DELETE", "/v1/galleries/{gallery}/people/{person}", "deletePerson", enrolling, (*Server).deletePerson},
	{"POST", "/v1/galleries/{gallery}/people/{person}/templates", "addTemplate", enrolling, (*Server).addTemplate},
	{"POST", "/v1/galleries/{gallery}/people/{person}/erase", "erasePerson", enrolling, (*Server).erasePerson},

	{"POST", "/v1/galleries/{gallery}/people/{person}/verify", "verify", matching, (*Server).verify},
	{"POST", "/v1/galleries/{gallery}/identify", "identify", matching, (*Server).identify},
	{"PUT", "/v1/galleries/{gallery}/decentralised/people/{person}", "decentralisedEnrol", enrolling, (*Server).decentralisedEnrol},
	{"DELETE", "/v1/galleries/{gallery}/decentralised/people/{person}", "decentralisedDelete", enrolling, (*Server).decentralisedDelete},
	{"DELETE", "/v1/galleries/{gallery}/decentralised/people/{person}/lock", "decentralisedUnlock", adminOnly, (*Server).decentralisedUnlock},
	{"POST", "/v1/galleries/{gallery}/decentralised/people/{person}/verify", "decentralisedVerify", matching, (*Server).decentralisedVerify},
	{"POST", "/v1/galleries/{gallery}/decentralised/identify", "decentralisedIdentify", matching, (*Server).decentralisedIdentify},
	{"GET", "/v1/galleries/{gallery}/decentralised/sealing", "decentralisedSearchSealing", matching, (*Server).decentralisedSealing},
	{"GET", "/v1/galleries/{gallery}/decentralised/people/{person}/sealing", "decentralisedSealing", deduping, (*Server).decentralisedSealing},
	{"POST", "/v1/galleries/{gallery}/duplicates", "duplicates", deduping, (*Server).duplicates},
	{"POST", "/v1/galleries/{gallery}/dedupe", "startDedupe", adminOnly, (*Server).startDedupe},
	{"GET", "/v1/jobs", "listJobs", auditing, (*Server).listJobs},
	{"GET", "/v1/jobs/{job}", "getJob", auditing, (*Server).getJob},
	{"PATCH", "/v1/jobs/{job}", "patchJob", adminOnly, (*Server).patchJob},
	{"DELETE", "/v1/jobs/{job}", "deleteJob", adminOnly, (*Server).deleteJob},
	{"GET", "/v1/jobs/{job}/pairs", "jobPairs", auditing, (*Server).jobPairs},
	{"GET", "/v1/jobs/{job}/findings", "jobFindings", auditing, (*Server).jobFindings},

	{"POST", "/v1/compare", "compare", matching, (*Server).compare},
	{"POST", "/v1/extract", "extract", deduping, (*Server).extract},
}
