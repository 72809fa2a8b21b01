package plan

import (
	"fmt"
	"strings"
	"testing"
)

// TestSelect holds what is selected where a state was found against PATCH_FIXES and the goal.
func TestSelect(t *testing.T) {
	of := func(last string, s State) State {
		s.Migrations.Last = last
		return s
	}
	const before, since = "20250116001415", FirstChecking
	absent, inPlace := State{Schema: "s"}, padded(&padTrigger, &ownFunction, Keys{})
	trigger, function := padded(&padTrigger, nil, Keys{}), padded(nil, &ownFunction, Keys{})
	named := with(unique("OpenaiCreds_name_key"), func(x *Index) { x.Key = "name" })
	for _, c := range []struct {
		fixes string
		goal  Goal
		s     State
		want  string
	}{
		{"auto", Apply, absent, "apikey-index apikey-check"},
		{"auto", Apply, of(before, table()), "apikey-index apikey-check"},
		{"auto", Apply, of(since, table()), "apikey-index apikey-check"},
		{"auto", Apply, of("", table()), "apikey-index apikey-check"},
		{"auto", Apply, of(before, inPlace), "apikey-index apikey-check"},
		{"auto", Apply, of(before, trigger), "apikey-index apikey-check"},
		{"auto", Apply, of(before, function), "apikey-index apikey-check"},
		{"auto,name-index", Apply, of(before, table()), "apikey-index apikey-check name-index"},
		{"auto", Look, of(before, table(shipped, named)), "apikey-index apikey-check"},
		{"auto", Look, of(before, table(shipped)), "apikey-index apikey-check name-index"},
		{"auto", Look, of(before, table(shipped, with(named, func(x *Index) { x.Unique = false }))), "apikey-index apikey-check name-index"},
		{"auto", Look, of(before, table(shipped, with(named, func(x *Index) { x.Unique, x.Partial = false, true }))), "apikey-index apikey-check"},
		{"auto", Revert, of(since, table(shipped, named)), "apikey-index"},
		{"auto", Revert, of(since, table(named)), "apikey-index"},
		{"auto", Revert, of(since, padded(&padTrigger, &ownFunction, Keys{}, named)), "apikey-check apikey-index"},
		{"auto", Revert, of(since, inPlace), "name-index apikey-check apikey-index"},
		{"auto", Revert, of("", inPlace), "apikey-check apikey-index"},
		{"auto", Revert, of("", table(with(named, func(x *Index) { x.Unique, x.Comment = false, IndexComment }))), "name-index apikey-index"},
		{"apikey-index", Apply, of(since, inPlace), "apikey-index"},
		{"apikey-check", Apply, of(before, table()), "apikey-index apikey-check"},
		{"name-index", Apply, of(since, inPlace), "name-index"},
		{"apikey-index", Revert, of(before, table()), "apikey-check apikey-index"},
		{"apikey-check", Revert, of(before, table()), "apikey-check"},
		{"name-index", Revert, of(before, table()), "name-index"},
		{"name-index , apikey-index", Look, of(since, inPlace), "apikey-index name-index"},
	} {
		var selection Selection
		if err := selection.UnmarshalText([]byte(c.fixes)); err != nil {
			t.Fatal(err)
		}
		selection.Complete(c.goal)
		if got := strings.Join(fixNames(Select(selection, c.goal, c.s)), " "); got != c.want {
			t.Errorf("%s, goal %d, %s: %s, want %s", c.fixes, c.goal, c.s.Migrations.Last, got, c.want)
		}
	}
}

// What is added to the fixes that were named is told.
func TestCompleted(t *testing.T) {
	for _, c := range []struct {
		named []Fix
		goal  Goal
		want  string
	}{
		{Fixes[:1], Apply, "[]"},
		{Fixes[1:2], Apply, "[apikey-index]"},
		{Fixes[1:2], Look, "[apikey-index]"},
		{Fixes[2:], Apply, "[]"},
		{Fixes[:1], Revert, "[apikey-check]"},
		{Fixes[:2], Revert, "[]"},
		{Fixes[1:2], Revert, "[]"},
		{Fixes[2:], Revert, "[]"},
		{nil, Revert, "[]"},
	} {
		s := Selection{Named: c.named}
		if got := fmt.Sprint(s.Complete(c.goal)); got != c.want {
			t.Errorf("goal %d, %v: %s, want %s", c.goal, fixNames(c.named), got, c.want)
		}
	}
}
