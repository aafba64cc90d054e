package session

import "github.com/kalamdb/kalamdb-go/internal/ident"

// Viewpoint is what a plan is made from of its caller: the role and the default namespace. Callers who have both in common can have plans
// in common. Who the caller is lies behind User, which notes that somebody asked: what was made from the answer is for that user alone.
type Viewpoint struct {
	Role      Role
	Namespace string

	user  ident.UserID
	asked *bool // shared by all copies
}

// Viewpoint returns that of the session, of whose user nothing has been asked yet.
func (s *Session) Viewpoint() Viewpoint {
	return Viewpoint{Role: s.Role, Namespace: s.Namespace, user: s.User, asked: new(bool)}
}

// User tells who asks.
func (v *Viewpoint) User() ident.UserID {
	if v.asked != nil {
		*v.asked = true
	}
	return v.user
}

// ToldUser reports whether this viewpoint, or one that was made of the same session, has told its user. It is true of one that cannot know.
func (v *Viewpoint) ToldUser() bool { return v.asked == nil || *v.asked }

// As is the viewpoint of another user and role.
func (v *Viewpoint) As(user ident.UserID, role Role) Viewpoint {
	other := *v
	other.user, other.Role = user, role
	return other
}
