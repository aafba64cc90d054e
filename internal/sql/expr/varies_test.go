package expr

import "testing"

func TestVaries(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]struct{ varies, caller bool }{
		"now": {varies: true}, "current_timestamp": {varies: true}, "current_date": {varies: true}, "ulid": {varies: true},
		"snowflake_id": {varies: true}, "uuid_v7": {varies: true}, "current_user": {caller: true}, "current_role": {caller: true},
		"upper": {}, "make_date": {}, "no_such_function": {},
	} {
		if Varies(name) != want.varies || DependsOnCaller(name) != want.caller {
			t.Errorf("%s: varies %v, depends on the caller %v", name, Varies(name), DependsOnCaller(name))
		}
	}
}
