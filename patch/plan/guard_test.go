package plan

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"evolution-openai-patch/patch/quote"
)

// Statements of a plan for a guard.
const (
	createGuardSchema   = "CREATE SCHEMA"
	closeGuardSchema    = "REVOKE ALL ON SCHEMA"
	createGuardFunction = "CREATE FUNCTION"
	closeGuardFunction  = "REVOKE ALL ON FUNCTION"
	createGuardTrigger  = "CREATE EVENT TRIGGER"
	dropGuardTrigger    = "DROP EVENT TRIGGER"
)

// guardFunction returns the function of a guard with this body.
func guardFunction(oid, body string) GuardFunction {
	return GuardFunction{OID: oid, Name: guardFunctionName(body), Body: body, Settings: guardSettings, Exact: true}
}

// installed returns a state without the table in which the guard is as the plan for this request makes it, after some changes.
func installed(r Request, changes ...func(*Guard)) State {
	s := State{Schema: "s"}
	s.Guard = &Guard{
		Owner: "postgres", Mine: true, Trusted: true, Trigger: &GuardTrigger{Function: "1", Enabled: true, Mine: true},
		Functions: []GuardFunction{guardFunction("1", guardBody(r, s))},
	}
	for _, change := range changes {
		change(s.Guard)
	}
	return s
}

// Changes to a guard.
func triggerDisabled(g *Guard) { g.Trigger.Enabled = false }
func triggerMissing(g *Guard)  { g.Trigger = nil }
func functionForeign(g *Guard) { g.Functions[0].Exact = false }

// TestGuardPlan holds every state of a guard against what is requested.
func TestGuardPlan(t *testing.T) {
	r, fewer := Request{Schema: "s", Fixes: Fixes[:2], Guard: true}, Request{Schema: "s", Fixes: Fixes[:1], Guard: true}
	revert, without := Request{Schema: "s", Fixes: Fixes[:2], Goal: Revert}, Request{Schema: "s", Fixes: Fixes[:2]}
	// The functions of a guard for r and of one for fewer, which fires.
	both := func(g *Guard) {
		g.Functions = []GuardFunction{guardFunction("2", guardBody(r, State{Schema: "s"})), g.Functions[0]}
	}
	created := table(shipped)
	created.Guard = installed(r).Guard
	grantee := State{Schema: "s", Grantees: []Named{{"somebody"}}} // the default privileges at the time of the guard
	grantees := func(g *Guard) { g.Functions[0] = guardFunction("1", guardBody(r, grantee)) }
	unfinished := created
	unfinished.Table = table().Table
	unfinished.Table.Columns, unfinished.Migrations.Last = unfinished.Table.Columns[2:], "20240718121437"
	all := []string{closeGuardSchema, createGuardFunction, closeGuardFunction, createGuardTrigger}
	for title, c := range map[string]struct {
		r         Request
		s         State
		want      []string
		unguarded string
		replaced  string
	}{
		"nothing there":         {r, State{Schema: "s"}, append([]string{createGuardSchema}, all...), "", ""},
		"not requested":         {without, State{Schema: "s"}, nil, "", ""},
		"nothing to revert":     {revert, State{Schema: "s"}, nil, "", ""},
		"PostgreSQL's schema":   {Request{Schema: "pg_catalog", Fixes: Fixes[:2], Guard: true}, State{Schema: "pg_catalog"}, nil, "no application has tables in schema", ""},
		"the standard's schema": {Request{Schema: "information_schema", Guard: true}, State{Schema: "information_schema"}, nil, "no application has tables in schema", ""},
		"installed":             {r, installed(r), nil, "", ""},
		"disabled":              {r, installed(r, triggerDisabled), []string{dropGuardTrigger, closeGuardSchema, createGuardTrigger}, "", ""},
		"no trigger":            {r, installed(r, triggerMissing), []string{closeGuardSchema, createGuardTrigger}, "", ""},
		"for fewer fixes": {
			r, installed(fewer), append([]string{dropGuardTrigger}, all...), "",
			"apikey-index (PATCH_KEEP_INDEX_NAMES=false) → apikey-index,apikey-check (PATCH_KEEP_INDEX_NAMES=false)",
		},
		"for fewer, disabled": {r, installed(fewer, triggerDisabled), append([]string{dropGuardTrigger}, all...), "", ""},
		"for fewer, and for more": {
			r, installed(fewer, both),
			[]string{dropGuardTrigger, closeGuardSchema, createGuardTrigger},
			"",
			"apikey-index (PATCH_KEEP_INDEX_NAMES=false) → apikey-index,apikey-check (PATCH_KEEP_INDEX_NAMES=false)",
		},
		"for other grantees":      {r, installed(r, grantees), append([]string{dropGuardTrigger}, all...), "", ""},
		"foreign, disabled":       {r, installed(r, functionForeign, triggerDisabled), nil, "that this program did not make", ""},
		"foreign":                 {r, installed(r, functionForeign), nil, "that this program did not make", ""},
		"kept, not requested":     {without, installed(r), nil, "", ""},
		"to be reverted":          {revert, installed(r), []string{dropGuardTrigger}, "", ""},
		"no trigger to revert":    {revert, installed(r, triggerMissing), nil, "", ""},
		"another's trigger":       {revert, installed(r, func(g *Guard) { g.Trigger.Mine = false }), nil, "", ""},
		"foreign trigger":         {revert, installed(r, functionForeign), nil, "", ""},
		"no longer needed":        {Request{Schema: "s"}, created, []string{dropGuardTrigger}, "", ""},
		"still needed":            {Request{Schema: "s", Fixes: Fixes[2:]}, unfinished, nil, "", ""},
		"still needed, to revert": {Request{Schema: "s", Fixes: Fixes[2:], Goal: Revert}, unfinished, []string{dropGuardTrigger}, "", ""},
	} {
		p := Plan{}
		p.guard(c.r, c.s)
		if !slices.EqualFunc(p.SQL, c.want, strings.HasPrefix) || (p.Unguarded == "") != (c.unguarded == "") || !strings.Contains(p.Unguarded, c.unguarded) || p.Replaced != c.replaced {
			t.Errorf("%s: %q, unguarded %q, replaced %q; want %q, %q, %q", title, p.SQL, p.Unguarded, p.Replaced, c.want, c.unguarded, c.replaced)
		}
	}
}

// An event trigger that a guard would make fail comes before everything else.
func TestNoGuardBesideAnEventTrigger(t *testing.T) {
	for _, s := range []State{{Schema: "s"}, installed(Request{Schema: "s", Fixes: Fixes[:1], Guard: true})} {
		s.EventTriggers = []EventTrigger{{Name: "zz", Trusted: true, Fragile: true}}
		p, err := Make(Request{Schema: "s", Fixes: Fixes[:2], Guard: true}, s)
		if err != nil || len(p.SQL) > 0 || !strings.Contains(p.Unguarded, `event trigger "zz" fail`) {
			t.Errorf("%v, %q, %q", err, p.SQL, p.Unguarded)
		}
	}
}

// Somebody's event trigger has the name of the guard's, and there is no schema of that name.
func TestNoGuardInThePlaceOfAnEventTrigger(t *testing.T) {
	p, err := Make(Request{Schema: "s", Fixes: Fixes[:2], Guard: true}, State{Schema: "s", EventTriggers: []EventTrigger{{Name: GuardName("s"), Trusted: true, Taken: true}}})
	if err != nil || len(p.SQL) > 0 || !strings.Contains(p.Unguarded, "calls a function that this program did not make") {
		t.Errorf("%v, %q, %q", err, p.SQL, p.Unguarded)
	}
}

// An event trigger of another role's code would fire as the guard is installed. One that has the name of the guard is told of in
// other words.
func TestNoGuardBesideForeignCode(t *testing.T) {
	r := Request{Schema: "s", Fixes: Fixes[:2], Guard: true}
	for name, want := range map[string]string{"zz": `event trigger "zz" would run a function of role "eve"`, GuardName("s"): "that this program did not make"} {
		s := installed(r, func(g *Guard) { g.Trigger.Function = "of somebody" })
		s.Superuser, s.EventTriggers = true, []EventTrigger{{Name: name, Owner: "eve"}}
		if p, err := Make(r, s); err != nil || len(p.SQL) > 0 || !strings.Contains(p.Unguarded, want) {
			t.Errorf("%s: %v, %q, %q", name, err, p.SQL, p.Unguarded)
		}
	}
}

// The body says of each fix which index it concerns, of which column, and whether keys are padded then.
func TestGuardBody(t *testing.T) {
	const key, name = `('OpenaiCreds_apiKey_key', 'apiKey', %t)`, `('OpenaiCreds_name_key', 'name', false)`
	for _, c := range []struct {
		fixes []Fix
		keep  bool
		want  string
	}{
		{Fixes[:1], false, fmt.Sprintf(key, false)},
		{Fixes[:2], true, fmt.Sprintf(key, true)},
		{Fixes[2:3], false, name},
		{Fixes[:3], true, fmt.Sprintf(key, true) + ", " + name},
	} {
		const schema = `a"b'c`
		body := guardBody(Request{Schema: schema, Fixes: c.fixes, KeepNames: c.keep}, State{Schema: schema})
		for _, want := range []string{"(VALUES " + c.want + ")", fmt.Sprintf("<> %t", c.keep), `to_regnamespace('"a""b''c"')`, `f.prosrc = ` + quote.Literal(PadBody)} {
			if !strings.Contains(body, want) {
				t.Errorf("%d fixes: no %s in\n%s", len(c.fixes), want, body)
			}
		}
		if _, sql, _ := strings.Cut(body, "DECLARE"); regexp.MustCompile(`[^:]:('|[a-z])`).MatchString(strings.ReplaceAll(sql, "evolution-openai-patch: ", "")) {
			t.Errorf("something is not filled in:\n%s", body)
		}
	}
}

// TestForeignGuard holds what may be in the schema of a guard against what is said of it.
func TestForeignGuard(t *testing.T) {
	r := Request{Schema: "s", Fixes: Fixes[:2]}
	other := guardBody(Request{Schema: "twin"}, State{Schema: "twin"})
	for title, c := range map[string]struct {
		change func(*Guard)
		want   string
	}{
		"ours":  {func(*Guard) {}, ""},
		"empty": {func(g *Guard) { g.Functions, g.Trigger = nil, nil }, ""},
		"for other fixes": {func(g *Guard) {
			g.Functions[0] = guardFunction("1", guardBody(Request{Schema: "s", Fixes: Fixes[2:], KeepNames: true}, State{Schema: "s"}))
		}, ""},
		"two of ours": {func(g *Guard) {
			g.Functions = append(g.Functions, guardFunction("2", guardBody(Request{Schema: "s", Fixes: Fixes}, State{Schema: "s"})))
		}, ""},
		"fewer settings":          {func(g *Guard) { g.Functions[0].Settings = guardSettings[:4] }, "that this program did not make"},
		"no settings":             {func(g *Guard) { g.Functions[0].Settings = nil }, "that this program did not make"},
		"another body":            {func(g *Guard) { g.Functions[0].Body += " " }, "that this program did not make"},
		"another kind":            {functionForeign, "that this program did not make"},
		"another name":            {func(g *Guard) { g.Functions[0].Name = "guard" }, `a function "guard" that this program did not make`},
		"no first line":           {func(g *Guard) { g.Functions[0] = guardFunction("1", "BEGIN END") }, "that this program did not make"},
		"a second function":       {func(g *Guard) { g.Functions = append(g.Functions, GuardFunction{OID: "2", Name: "f"}) }, `a function "f" that this program did not make`},
		"a table":                 {func(g *Guard) { g.Others = []string{"table " + GuardName("s") + ".todo"} }, "holds what this program did not make: table"},
		"of an untrusted role":    {func(g *Guard) { g.Trusted, g.Functions, g.Trigger = false, nil, nil }, "which is not a superuser"},
		"function of that role":   {func(g *Guard) { g.Trusted = false }, "that this program did not make"},
		"of a schema's namesake":  {func(g *Guard) { g.Functions[0] = guardFunction("1", other) }, `the guard of another schema, "twin"`},
		"trigger of another's":    {func(g *Guard) { g.Trigger.Function = "2" }, "calls a function that this program did not make"},
		"trigger that is missing": {triggerMissing, ""},
	} {
		g := installed(r, c.change).Guard
		if got := g.Foreign("s"); (c.want == "") != (got == "") || !strings.Contains(got, c.want) {
			t.Errorf("%s: %q, want %q", title, got, c.want)
		}
	}
}

// A guard's work is known only where it will fire.
func TestGuardWork(t *testing.T) {
	r := Request{Schema: "s", Fixes: Fixes[:2]}
	for title, c := range map[string]struct {
		change func(*Guard)
		fires  bool
	}{
		"installed":           {func(*Guard) {}, true},
		"untrusted":           {func(g *Guard) { g.Trusted = false }, false},
		"no trigger":          {triggerMissing, false},
		"disabled":            {triggerDisabled, false},
		"of another function": {func(g *Guard) { g.Trigger.Function = "2" }, false},
		"changed":             {func(g *Guard) { g.Functions[0].Body += " " }, false},
		"no header": {func(g *Guard) {
			g.Functions[0] = guardFunction("1", "BEGIN END")
		}, false},
	} {
		s := installed(r, c.change)
		if s.Guards(Fixes[:2]) != c.fires || s.Guards(Fixes[:1]) != c.fires || s.Guards(Fixes) {
			t.Errorf("%s: it guards both fixes %t, want %t", title, s.Guards(Fixes[:2]), c.fires)
		}
	}
	if (State{Schema: "other", Guard: installed(r).Guard}).Guards(Fixes[:1]) || (State{Schema: "s"}).Guards(nil) {
		t.Error("the guard of another schema, or none, is taken for one")
	}
}

// The names of what is in databases already stay as they are: by them a guard is recognized.
func TestGuardNames(t *testing.T) {
	if got := GuardName("public"); got != "evolution_openai_patch_cc909380" {
		t.Errorf("the guard of schema public is named %s", got)
	}
	if got := guardFunctionName("BEGIN END"); got != "guard_63ae322a81b00766" {
		t.Errorf("the function is called %s", got)
	}
}

// Settings are written so that CREATE FUNCTION takes them: the value of search_path is a list, the others are strings.
func TestGuardSetClauses(t *testing.T) {
	const want = " SET search_path = pg_catalog, pg_temp SET lock_timeout = '10ms' SET client_min_messages = 'error'" +
		" SET quote_all_identifiers = 'off' SET default_tablespace = '' SET exit_on_error = 'off'"
	if got := guardSetClauses(); got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// A value that is filled in must not stand in a comment: a schema's name may hold the end of a line.
func TestNothingIsFilledIntoComments(t *testing.T) {
	for line := range strings.Lines(guardTemplate) {
		if _, comment, found := strings.Cut(line, "--"); found && strings.Contains(comment, ":'") {
			t.Error(line)
		}
	}
}
