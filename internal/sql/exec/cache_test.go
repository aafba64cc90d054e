package exec

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/catalog"
	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/session"
	"github.com/kalamdb/kalamdb-go/internal/sql/parse"
	"github.com/kalamdb/kalamdb-go/internal/sql/plan"
)

// TestPlanCacheIsBounded fills the cache far beyond its bound, with short and with long texts.
func TestPlanCacheIsBounded(t *testing.T) {
	t.Parallel()
	const most = 100
	cache := newPlanCache(most)
	current := catalog.NewStore().Current()
	statement := &parse.Parsed{Statement: &parse.Query{}}
	for i := range 3 * most {
		key, ok := keyOf(&Request{SQL: fmt.Sprintf("SELECT %d", i)})
		if !ok {
			t.Fatal("a short statement is not cached")
		}
		cache.keep(key, current, statement, &plan.Query{}, time.Time{})
		if _, found := cache.find(key); !found {
			t.Fatalf("statement %d is not there after it was kept", i)
		}
		if len(cache.plans) > most {
			t.Fatalf("%d plans are kept, want at most %d", len(cache.plans), most)
		}
	}
	if _, ok := keyOf(&Request{SQL: strings.Repeat("x", maxCachedTextBytes+1)}); ok {
		t.Error("a text that is too long would be kept")
	}
}

// TestPlanKeysTellCallersApart: a plan carries the scope, the rights and the parameter types of one caller.
func TestPlanKeysTellCallersApart(t *testing.T) {
	t.Parallel()
	request := Request{
		SQL: "SELECT $1", Params: []datum.Datum{datum.NewBigInt(1)},
		Session: session.Session{User: "a", Role: session.RoleUser, Namespace: "n"},
	}
	keys := map[planKey]string{}
	for name, change := range map[string]func(*Request){
		"as it was":          func(*Request) {},
		"another user":       func(r *Request) { r.Session.User = "b" },
		"another role":       func(r *Request) { r.Session.Role = session.RoleDBA },
		"another namespace":  func(r *Request) { r.Session.Namespace = "m" },
		"another text":       func(r *Request) { r.SQL = "SELECT $1 " },
		"another type":       func(r *Request) { r.Params = []datum.Datum{datum.NewText("1")} },
		"NULL":               func(r *Request) { r.Params = []datum.Datum{{}} },
		"one parameter more": func(r *Request) { r.Params = append(r.Params, datum.NewBigInt(2)) },
	} {
		changed := request
		change(&changed)
		key, _ := keyOf(&changed)
		if other, taken := keys[key]; taken {
			t.Errorf("%s has the key of %s", name, other)
		}
		keys[key] = name
	}
	again := request
	again.Params = []datum.Datum{datum.NewBigInt(2)}
	if key, _ := keyOf(&again); keys[key] != "as it was" {
		t.Error("another value of the same type has another key")
	}
}
