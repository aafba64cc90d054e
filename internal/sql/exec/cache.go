package exec

import (
	"sync"
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

// planKey is everything a plan depends on besides the catalog: a plan carries the scope and the rights of
// one caller, so it serves that caller alone.
type planKey struct {
	sql       string
	namespace string
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
// parameters. When it is full an arbitrary plan makes room. Plans are never changed, so many requests
// may run one at the same time.
type planCache struct {
	most int

	mu    sync.RWMutex // guards plans
	plans map[planKey]cachedPlan
}

func newPlanCache(most int) *planCache {
	return &planCache{most: most, plans: map[planKey]cachedPlan{}}
}

// keyOf returns the key of a request; ok is false when its text is too long to be kept.
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
	return planKey{sql: request.SQL, namespace: caller.Namespace, user: caller.User, role: caller.Role, params: string(kinds)}, true
}

func (c *planCache) find(key planKey) (cachedPlan, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	found, ok := c.plans[key]
	return found, ok
}

func (c *planCache) size() int {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return len(c.plans)
}

// keep stores the plan of a request's only statement, if it is of a kind worth keeping.
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
	c.mu.Lock()
	defer c.mu.Unlock()
	for victim := range c.plans {
		if len(c.plans) < c.most {
			break
		}
		delete(c.plans, victim)
	}
	c.plans[key] = cachedPlan{catalog: current, bound: bound, needsCatalog: plan.NeedsCatalog(parsed.Statement), until: until}
}
