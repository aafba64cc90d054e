package shard

import (
	"testing"

	"github.com/kalamdb/kalamdb-go/internal/ident"
)

// The routing of a user is a disk format: these values must never change.
func TestRouteUserIsStable(t *testing.T) {
	m := Default()
	want := map[ident.UserID]GroupID{
		"alice": 109, "bob": 127, "root": 109, "": 125,
	}
	for user, group := range want {
		if got := m.RouteUser(user); got != group {
			t.Errorf("RouteUser(%q) = %d, want %d", user, got, group)
		}
	}
}

func TestGroupNumbersNeverCollide(t *testing.T) {
	m := Map{UserShards: MaxShards, SharedShards: MaxShards}
	seen := map[GroupID]bool{}
	for _, g := range m.Groups() {
		if seen[g] {
			t.Fatalf("group %d appears twice", g)
		}
		seen[g] = true
		class, n, ok := g.Decompose()
		if !ok {
			t.Fatalf("group %d does not decompose", g)
		}
		switch class {
		case ClassUser:
			if UserShard(n) != g {
				t.Fatalf("UserShard(%d) = %d, want %d", n, UserShard(n), g)
			}
		case ClassShared:
			if SharedShard(n) != g {
				t.Fatalf("SharedShard(%d) = %d, want %d", n, SharedShard(n), g)
			}
		case ClassLocal:
			t.Fatalf("group %d is in the map, and every node has its own", g)
		case ClassMeta:
			if g != Meta {
				t.Fatalf("group %d claims to be meta", g)
			}
		}
	}
}

func TestGroupNames(t *testing.T) {
	for g, want := range map[GroupID]string{
		Meta: "meta", Local: "data:local", 107: "data:user:07", 200: "data:shared:00", 100_100: "data:user:100", 5: "group:5",
	} {
		if got := g.String(); got != want {
			t.Errorf("GroupID(%d).String() = %q, want %q", uint64(g), got, want)
		}
	}
}

func TestMapValidate(t *testing.T) {
	for _, m := range []Map{{}, {UserShards: 1}, {UserShards: MaxShards + 1, SharedShards: 1}} {
		if m.Validate() == nil {
			t.Errorf("%+v was accepted", m)
		}
	}
	if err := Default().Validate(); err != nil {
		t.Error(err)
	}
}
