package plan

import (
	"fmt"
	"strings"
	"testing"
)

// guardedFor returns a state without the table, and with a guard for these fixes.
func guardedFor(fixes string, enabled, trusted bool) State {
	body := fmt.Sprintf("-- evolution-openai-patch {\"schema\":\"s\",\"fixes\":[%s]}\nBEGIN END", fixes)
	return State{Schema: "s", Guard: &Guard{
		Trusted: trusted, Functions: []GuardFunction{guardFunction("1", body)},
		Trigger: &GuardTrigger{Function: "1", Enabled: enabled},
	}}
}

// TestAssess holds what is said of a state against what is asked for.
func TestAssess(t *testing.T) {
	noName := table(shipped)
	noName.Table.Columns = []Column{noName.Table.Columns[0], noName.Table.Columns[2]}
	noName.Migrations.Last = "20240718121437"
	for name, c := range map[string]struct {
		s    State
		r    Request
		want string // the status, then that of each fix
	}{
		"no table":                    {State{Schema: "s"}, Request{Fixes: Fixes[:2]}, "pending pending pending"},
		"guard for all":               {guardedFor(`"apikey-index","apikey-check"`, true, true), Request{Fixes: Fixes[:2]}, "guarded guarded guarded"},
		"guard for more":              {guardedFor(`"apikey-index","apikey-check"`, true, true), Request{Fixes: Fixes[:1]}, "guarded guarded"},
		"guard for less":              {guardedFor(`"apikey-index"`, true, true), Request{Fixes: Fixes[:2]}, "pending guarded pending"},
		"guard that will not fire":    {guardedFor(`"apikey-index"`, false, true), Request{Fixes: Fixes[:1]}, "pending pending"},
		"guard of somebody's":         {guardedFor(`"apikey-index"`, true, false), Request{Fixes: Fixes[:1]}, "pending pending"},
		"as shipped":                  {table(shipped), Request{Schema: "s", Fixes: Fixes[:2]}, "unpatched unpatched unpatched"},
		"half":                        {table(), Request{Schema: "s", Fixes: Fixes[:2]}, "unpatched patched unpatched"},
		"whole":                       {padded(&padTrigger, &ownFunction, Keys{Spaced: 1}), Request{Schema: "s", Fixes: Fixes[:2]}, "patched patched patched"},
		"whole, and a guard":          {with(table(), func(s *State) { s.Guard = installed(Request{Schema: "s", Fixes: Fixes[:1]}).Guard }), Request{Schema: "s", Fixes: Fixes[:1]}, "patched patched"},
		"reverted":                    {table(shipped), Request{Schema: "s", Fixes: Fixes[:1], Goal: Revert}, "unpatched unpatched"},
		"no stand-in":                 {table(), Request{Schema: "s", Fixes: Fixes[:1], KeepNames: true}, "patched patched"},
		"column to come":              {noName, Request{Schema: "s", Fixes: Fixes[2:3]}, "pending pending"},
		"column to come, others left": {noName, Request{Schema: "s", Fixes: []Fix{Fixes[0], Fixes[2]}}, "unpatched unpatched pending"},
		"refused":                     {table(shipped, partial), Request{Schema: "s", Fixes: Fixes[:1]}, "unpatched unpatched"},
	} {
		a := Assess(c.r, c.s)
		got := string(a.Status)
		for _, f := range c.r.Fixes {
			got += " " + string(a.Fixes[f.Name])
		}
		if got != c.want || len(a.Fixes) != len(c.r.Fixes) {
			t.Errorf("%s: %s of %d fixes, want %s", name, got, len(a.Fixes), c.want)
		}
	}
}

// What there is of a fix is told in PostgreSQL's words.
func TestFound(t *testing.T) {
	defined := with(shipped, func(x *Index) { x.Definition = "CREATE UNIQUE INDEX a" })
	standIn := with(plainIndex, func(x *Index) { x.Definition = "CREATE INDEX a" })
	again := with(unique("b"), func(x *Index) { x.Definition = "CREATE UNIQUE INDEX b" })
	future := table()
	future.Table.Columns, future.Migrations.Last = future.Table.Columns[:1], "20240609181238"
	triggered := with(padTrigger, func(x *Trigger) { x.Definition = "CREATE TRIGGER t" })
	for _, c := range []struct {
		s    State
		fix  Fix
		keep bool
		want string
	}{
		{table(), Fixes[0], false, `no index on "apiKey"`},
		{table(defined), Fixes[0], false, "CREATE UNIQUE INDEX a"},
		{table(defined, again), Fixes[0], false, "CREATE UNIQUE INDEX a; CREATE UNIQUE INDEX b"},
		{table(defined), Fixes[0], true, "CREATE UNIQUE INDEX a"},
		{table(standIn), Fixes[0], true, "CREATE INDEX a"},
		{table(), Fixes[0], true, `no index on "apiKey"`},
		{future, Fixes[2], false, `no column "name" yet`},
		{table(), Fixes[1], false, "no padding trigger"},
		{padded(&triggered, &ownFunction, Keys{}), Fixes[1], false, "CREATE TRIGGER t"},
		{padded(&triggered, &ownFunction, Keys{Bare: 1}), Fixes[1], false, "CREATE TRIGGER t; keys without the space: 1"},
	} {
		p, err := Make(Request{Schema: "s", Fixes: []Fix{c.fix}, KeepNames: c.keep}, c.s)
		if got := p.Found[c.fix.Name]; err != nil || got != c.want {
			t.Errorf("%q, %v, want %q", got, err, c.want)
		}
		if a := Assess(Request{Schema: "s", Fixes: []Fix{c.fix}, KeepNames: c.keep}, c.s); a.Found[c.fix.Name] != c.want {
			t.Errorf("%q is told, want %q", a.Found[c.fix.Name], c.want)
		}
	}
}

// Keys that fill their column are left out of the UPDATE, where the column has a limit at all.
func TestPaddingFitsTheColumn(t *testing.T) {
	for limit, want := range map[int]string{255: " AND length(rtrim(\"apiKey\", ' ')) < 255", 1: " AND length(rtrim(\"apiKey\", ' ')) < 1", 0: ""} {
		s := padded(nil, nil, Keys{Bare: 1})
		s.Table.Column("apiKey").Limit = limit
		p, err := Make(Request{Schema: "s", Fixes: Fixes[1:2]}, s)
		if err != nil || !strings.HasSuffix(p.SQL[3], `<> rtrim("apiKey", ' ') || ' '`+want) || p.Rows != 1 || !p.Pads {
			t.Errorf("limit %d: %v, %+v", limit, err, p)
		}
	}
}
