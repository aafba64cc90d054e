package exec

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/catalog"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/session"
	"github.com/kalamdb/kalamdb-go/internal/sql/parse"
	"github.com/kalamdb/kalamdb-go/internal/sql/plan"
)

// The bounds of the plan cache.
const (
	defaultCachedPlans = 1024
	maxCachedTextBytes = 4 << 10
)

// planKey is everything a plan depends on besides the catalog. Most plans say nothing of who carries them out,
// and serve every user of a role.
type planKey struct {
	sql       string
	namespace string
	own       bool // the plan is for user alone; without it user is empty
	user      ident.UserID
	role      session.Role
	params    string // the kinds of the parameters, one byte each
}

// cachedPlan is a bound statement and the catalog that it was bound to; under any other it is void.
type cachedPlan struct {
	catalog      *catalog.Catalog
	bound        plan.Statement
	needsCatalog bool
	// until is when the sizes that the plan was made for are to be looked at again; zero for one that depends on none.
	until time.Time
}

// planCache keeps the plans of statements that are likely to come again: queries, and changes with
// parameters. When it is full an arbitrary plan makes room: of those that serve all, or of those that serve one
// user, whichever are more than half, so that neither push out the others. Plans are never changed, so many
// requests may run one at the same time.
type planCache struct {
	most int // less than zero keeps none

	hits, made atomic.Uint64 // requests that found a plan, and plans that were made to be kept

	mu     sync.RWMutex // guards shared and owned
	shared map[planKey]cachedPlan
	owned  map[planKey]cachedPlan
}

func newPlanCache(most int) *planCache {
	return &planCache{most: most, shared: map[planKey]cachedPlan{}, owned: map[planKey]cachedPlan{}}
}

// keyOf returns the key of the plan that serves a request and those of all others of its role; ok is false when its text is too long to be kept.
func keyOf(request *Request) (key planKey, ok bool) {
	if len(request.SQL) > maxCachedTextBytes {
		return planKey{}, false
	}
	var few [16]byte // most requests have no more, and need no memory for them
	kinds := few[:0]
	for i := range request.Params {
		kinds = append(kinds, byte(request.Params[i].Kind()))
	}
	caller := &request.Session
	return planKey{sql: request.SQL, namespace: caller.Namespace, role: caller.Role, params: string(kinds)}, true
}

// ownedBy is the key of a plan that serves one user alone.
func (k planKey) ownedBy(user ident.UserID) planKey {
	k.own, k.user = true, user
	return k
}

// find returns the plan for a user: that of everybody, or his own.
func (c *planCache) find(key planKey, user ident.UserID) (cachedPlan, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	found, ok := c.shared[key]
	if !ok {
		found, ok = c.owned[key.ownedBy(user)]
	}
	return found, ok
}

func (c *planCache) size() int {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return len(c.shared) + len(c.owned)
}

// keep stores the plan of a request's only statement, if it is of a kind worth keeping. The key says whether it is one user's.
func (c *planCache) keep(key planKey, current *catalog.Catalog, parsed *parse.Parsed, bound plan.Statement, until time.Time) {
	switch bound.(type) {
	case *plan.Query:
	case *plan.Insert, *plan.Update, *plan.Delete:
		if parsed.Parameters == 0 {
			return
		}
	default:
		return // changes of the catalog are rare, and carry secrets
	}
	c.made.Add(1)
	if c.most < 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	plans := c.shared
	if key.own { // one that was for all hides those of users
		plans = c.owned
		all := key
		all.own, all.user = false, ""
		delete(c.shared, all)
	}
	if _, again := plans[key]; !again {
		c.makeRoom(plans)
	}
	plans[key] = cachedPlan{catalog: current, bound: bound, needsCatalog: plan.NeedsCatalog(parsed.Statement), until: until}
}

// makeRoom drops plans until there is room for one more of a kind.
func (c *planCache) makeRoom(plans map[planKey]cachedPlan) {
	for len(c.shared)+len(c.owned) >= max(c.most, 1) {
		from := plans
		switch {
		case len(c.shared) > c.most/2:
			from = c.shared
		case len(c.owned) > c.most/2:
			from = c.owned
		}
		for victim := range from {
			delete(from, victim)
			break
		}
	}
}
