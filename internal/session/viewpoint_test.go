package session

import "testing"

// TestViewpointsNoteWhoAskedForTheUser: what was made from the answer must not be given to others, so nothing that asks may go unnoticed.
func TestViewpointsNoteWhoAskedForTheUser(t *testing.T) {
	t.Parallel()
	caller := Session{User: "ann", Role: RoleService, Namespace: "app"}
	for name, ask := range map[string]func(*Viewpoint){
		"itself":          func(v *Viewpoint) { v.User() },
		"a copy":          func(v *Viewpoint) { other := *v; other.User() },
		"a copy within":   func(v *Viewpoint) { other := *v; other.Namespace = "elsewhere"; other.User() },
		"as another":      func(v *Viewpoint) { other := v.As("bob", RoleUser); other.User() },
		"a copy of a one": func(v *Viewpoint) { other := v.As("bob", RoleUser); third := other; third.User() },
	} {
		from := caller.Viewpoint()
		if from.Role != RoleService || from.Namespace != "app" || from.ToldUser() {
			t.Fatalf("%s: a new viewpoint is %+v and has told its user: %v", name, from, from.ToldUser())
		}
		if ask(&from); !from.ToldUser() {
			t.Errorf("%s was asked for the user and nobody knows", name)
		}
	}
	from := caller.Viewpoint()
	other := from.As("bob", RoleUser)
	if other.Role != RoleUser || other.Namespace != "app" || other.User() != "bob" || from.User() != "ann" || from.Role != RoleService {
		t.Errorf("as another it is %+v, and it is %+v", other, from)
	}
	if again := caller.Viewpoint(); again.ToldUser() {
		t.Error("what is asked of one request is held against the next")
	}
	if unknown := (Viewpoint{Role: RoleUser}); !unknown.ToldUser() {
		t.Error("a viewpoint that cannot note who asks says that nobody did")
	}
}
