package exec

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/catalog"
	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/ident"
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
		if i%2 == 0 {
			key = key.ownedBy("ann")
		}
		cache.keep(key, current, statement, &plan.Query{}, time.Time{})
		if _, found := cache.find(key, "ann"); !found {
			t.Fatalf("statement %d is not there after it was kept", i)
		}
		if cache.size() > most {
			t.Fatalf("%d plans are kept, want at most %d", cache.size(), most)
		}
	}
	if _, ok := keyOf(&Request{SQL: strings.Repeat("x", maxCachedTextBytes+1)}); ok {
		t.Error("a text that is too long would be kept")
	}
	none := newPlanCache(-1)
	none.keep(planKey{sql: "SELECT 1"}, current, statement, &plan.Query{}, time.Time{})
	if none.size() != 0 {
		t.Error("a cache that is to keep nothing keeps a plan")
	}
}

// TestPlanKeysTellCallersApart: a plan carries the rights of a role, the default namespace and the parameter types, and no user.
func TestPlanKeysTellCallersApart(t *testing.T) {
	t.Parallel()
	request := Request{
		SQL: "SELECT $1", Params: []datum.Datum{datum.NewBigInt(1)},
		Session: session.Session{User: "a", Role: session.RoleUser, Namespace: "n"},
	}
	keys := map[planKey]string{}
	for name, change := range map[string]func(*Request){
		"as it was":          func(*Request) {},
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
		for _, user := range []ident.UserID{"a", "b", ""} {
			own := key.ownedBy(user)
			if other, taken := keys[own]; taken {
				t.Errorf("%s of %q has the key of %s", name, user, other)
			}
			keys[own] = name + " of " + string(user)
		}
		if other, taken := keys[key]; taken {
			t.Errorf("%s has the key of %s", name, other)
		}
		keys[key] = name
	}
	again := request
	again.Params, again.Session.User = []datum.Datum{datum.NewBigInt(2)}, "b"
	if key, _ := keyOf(&again); keys[key] != "as it was" {
		t.Error("another value of the same type, or another user, has another key")
	}
}

// TestPlansOfOneUserServeNobodyElse keeps plans for users and for all under one text.
func TestPlansOfOneUserServeNobodyElse(t *testing.T) {
	t.Parallel()
	cache, current := newPlanCache(10), catalog.NewStore().Current()
	statement := &parse.Parsed{Statement: &parse.Query{}}
	key, _ := keyOf(&Request{SQL: "SELECT 1", Session: session.Session{User: "ann", Role: session.RoleUser}})
	shared, anns, nobodys := &plan.Query{}, &plan.Query{}, &plan.Query{}
	finds := func(user ident.UserID, want plan.Statement) {
		t.Helper()
		if found, ok := cache.find(key, user); ok != (want != nil) || found.bound != want {
			t.Errorf("%q finds %p, want %p", user, found.bound, want)
		}
	}
	cache.keep(key.ownedBy("ann"), current, statement, anns, time.Time{})
	finds("ann", anns)
	finds("bob", nil)
	finds("", nil)
	cache.keep(key.ownedBy(""), current, statement, nobodys, time.Time{})
	finds("ann", anns)
	finds("bob", nil)
	finds("", nobodys)
	cache.keep(key, current, statement, shared, time.Time{})
	finds("ann", shared)
	finds("bob", shared)
	// The plan of all may be one of an earlier catalog, which would hide those of users from then on.
	cache.keep(key.ownedBy("ann"), current, statement, anns, time.Time{})
	finds("ann", anns)
	finds("bob", nil)
}

// TestPlansOfUsersAndOfAllShareTheRoom: neither many users nor many texts push out the plans of the other kind beyond a half.
func TestPlansOfUsersAndOfAllShareTheRoom(t *testing.T) {
	t.Parallel()
	for most := 1; most < 12; most++ {
		cache, current := newPlanCache(most), catalog.NewStore().Current()
		statement := &parse.Parsed{Statement: &parse.Query{}}
		keep := func(text string, own bool, times int) {
			for i := range times {
				key := planKey{sql: text + strconv.Itoa(i)}
				if own {
					key = key.ownedBy("ann")
				}
				cache.keep(key, current, statement, &plan.Query{}, time.Time{})
				if _, found := cache.find(key, "ann"); !found || cache.size() > most {
					t.Fatalf("of %d plans: %d are kept, the newest among them: %v", most, cache.size(), found)
				}
			}
		}
		keep("shared", false, 3*most)
		if len(cache.shared) != most {
			t.Errorf("alone, plans for all have %d of %d places", len(cache.shared), most)
		}
		keep("own", true, 3*most)
		keep("own again", true, 3*most)
		if len(cache.shared) < most/2 || len(cache.owned) < most/2 {
			t.Errorf("after many of users, plans for all have %d places and those of users %d of %d", len(cache.shared), len(cache.owned), most)
		}
		keep("other", false, 3*most)
		if len(cache.shared) < most/2 || len(cache.owned) < most/2 {
			t.Errorf("after many for all, these have %d places and those of users %d of %d", len(cache.shared), len(cache.owned), most)
		}
	}
	cache := newPlanCache(2)
	for range 3 { // no other plan makes room for one that takes its own place
		for _, text := range []string{"a", "b"} {
			cache.keep(planKey{sql: text}, catalog.NewStore().Current(), &parse.Parsed{Statement: &parse.Query{}}, &plan.Query{}, time.Time{})
		}
	}
	if cache.size() != 2 {
		t.Errorf("%d plans are kept after two took their places again, want both", cache.size())
	}
}
