package patch

import (
	"bytes"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestFixesFor holds what is selected where a state was found against PATCH_FIXES and PATCH_ACTION.
func TestFixesFor(t *testing.T) {
	of := func(last string, s State) State {
		s.Migrations.Last = last
		return s
	}
	const before, since = "20250116001415", firstChecking
	absent, inPlace := State{Schema: "s"}, padded(&padTrigger, &ownFunction, Keys{})
	trigger, function := padded(&padTrigger, nil, Keys{}), padded(nil, &ownFunction, Keys{})
	named := with(unique("OpenaiCreds_name_key"), func(x *Index) { x.Key = "name" })
	for _, c := range []struct {
		fixes  string
		action Action
		s      State
		want   string
	}{
		{"auto", ActionApply, absent, "apikey-index apikey-check"},
		{"auto", ActionApply, of(before, table()), "apikey-index"},
		{"auto", ActionApply, of(since, table()), "apikey-index apikey-check"},
		{"auto", ActionApply, of("", table()), "apikey-index"},
		{"auto", ActionApply, of(before, inPlace), "apikey-index apikey-check"},
		{"auto", ActionApply, of(before, trigger), "apikey-index apikey-check"},
		{"auto", ActionApply, of(before, function), "apikey-index apikey-check"},
		{"auto,name-index", ActionApply, of(before, table()), "apikey-index name-index"},
		{"auto", ActionStatus, of(before, table(shipped, named)), "apikey-index"},
		{"auto", ActionStatus, of(before, table(shipped)), "apikey-index name-index"},
		{"auto", ActionStatus, of(before, table(shipped, with(named, func(x *Index) { x.Unique = false }))), "apikey-index name-index"},
		{"auto", ActionRevert, of(since, table(shipped, named)), "apikey-index"},
		{"auto", ActionRevert, of(since, table(named)), "apikey-index"},
		{"auto", ActionRevert, of(since, padded(&padTrigger, &ownFunction, Keys{}, named)), "apikey-check apikey-index"},
		{"auto", ActionRevert, of(since, inPlace), "name-index apikey-check apikey-index"},
		{"apikey-index", ActionApply, of(since, inPlace), "apikey-index"},
		{"apikey-check", ActionApply, of(before, table()), "apikey-index apikey-check"},
		{"name-index", ActionApply, of(since, inPlace), "name-index"},
		{"apikey-index", ActionRevert, of(before, table()), "apikey-check apikey-index"},
		{"apikey-check", ActionRevert, of(before, table()), "apikey-check apikey-index"},
		{"name-index", ActionRevert, of(before, table()), "name-index"},
		{"name-index , apikey-index", ActionStatus, of(since, inPlace), "apikey-index name-index"},
	} {
		cfg := Config{Action: c.action}
		if err := cfg.Fixes.UnmarshalText([]byte(c.fixes)); err != nil {
			t.Fatal(err)
		}
		cfg.Fixes.Complete(cfg.Goal())
		if got := strings.Join(fixNames(Select(cfg.Fixes, cfg.Goal(), c.s)), " "); got != c.want {
			t.Errorf("%s, %s, %s: %s, want %s", c.fixes, c.action, c.s.Migrations.Last, got, c.want)
		}
	}
}

// What is added to the fixes that were named is told.
func TestCompleted(t *testing.T) {
	for _, c := range []struct {
		named  []Fix
		action Action
		want   string
	}{
		{Fixes[:1], ActionApply, "[]"},
		{Fixes[1:2], ActionApply, "[apikey-index]"},
		{Fixes[1:2], ActionStatus, "[apikey-index]"},
		{Fixes[2:], ActionApply, "[]"},
		{Fixes[:1], ActionRevert, "[apikey-check]"},
		{Fixes[:2], ActionRevert, "[]"},
		{Fixes[2:], ActionRevert, "[]"},
		{nil, ActionRevert, "[]"},
	} {
		s := Selection{Named: c.named}
		if got := fmt.Sprint(s.Complete((&Config{Action: c.action}).Goal())); got != c.want {
			t.Errorf("%s %v: %s, want %s", c.action, fixNames(c.named), got, c.want)
		}
	}
}

// TestModes holds what follows from several variables together.
func TestModes(t *testing.T) {
	for _, c := range []struct {
		variables string
		want      string // what holds
	}{
		{"PATCH_ACTION=apply", "changes"},
		{"PATCH_ACTION=status", ""},
		{"PATCH_ACTION=revert", "changes"},
		{"PATCH_DRY_RUN=true", ""},
		{"PATCH_WATCH=1s", "changes watches"},
		{"PATCH_WATCH=1s PATCH_ACTION=status", ""},
		{"PATCH_ON_MISSING_TABLE=wait", "changes waits requires"},
		{"PATCH_ON_MISSING_TABLE=wait PATCH_ACTION=status", ""},
		{"PATCH_ON_MISSING_TABLE=wait PATCH_DRY_RUN=true", ""},
		{"PATCH_ON_MISSING_TABLE=fail", "changes requires"},
		{"PATCH_ON_MISSING_TABLE=fail PATCH_ACTION=status", ""},
		{"PATCH_ON_MISSING_TABLE=fail PATCH_DRY_RUN=true", "requires"},
		{"PATCH_ON_MISSING_TABLE=guard", "changes"},
		{"PATCH_SCHEMAS=a", "changes"},
		{"PATCH_SCHEMAS=a,b", "changes several"},
		{"PATCH_SCHEMAS=*", "changes several"},
		{"PATCH_SCHEMAS=a,*", "changes several"},
		{"PATCH_DATABASES=a", "changes"},
		{"PATCH_DATABASES=a,b", "changes several"},
		{"PATCH_DATABASES=a*", "changes several"},
		{"PATCH_DATABASES=a,b*", "changes several"},
	} {
		cfg, err := Parse(t.Context(), append(strings.Fields(c.variables), goodURI))
		if err != nil {
			t.Fatal(err)
		}
		var holds []string
		for _, mode := range []struct {
			name  string
			holds bool
		}{{"changes", cfg.mayChange()}, {"watches", cfg.watches()}, {"waits", cfg.waitsForTable()}, {"requires", cfg.tableRequired()}, {"several", cfg.several()}} {
			if mode.holds {
				holds = append(holds, mode.name)
			}
		}
		if got := strings.Join(holds, " "); got != c.want {
			t.Errorf("%s: %s, want %s", c.variables, got, c.want)
		}
		if level := cfg.routine().String(); (level == "DEBUG") != slices.Contains(holds, "several") {
			t.Errorf("%s: what is routine is logged at level %s", c.variables, level)
		}
	}
	cfg, err := Parse(t.Context(), []string{goodURI, "PATCH_CONNECT_TIMEOUT=3s", "PATCH_LOCK_TIMEOUT=7ms"})
	if l := cfg.limits(); err != nil || l.Idle != 3*time.Second || l.Lock != 7*time.Millisecond || l.Statement != 0 {
		t.Errorf("%v, %+v", err, l)
	}
}

// TestTargets holds the databases and schemas of each target against what was set.
func TestTargets(t *testing.T) {
	const two = "DATABASE_CONNECTION_URI=postgres://u:p@h/d?schema=e \t\n'postgres://u:p@i/f'"
	for _, c := range []struct {
		variables []string
		want      string // database: databases schemas schemas of others
	}{
		{[]string{"DATABASE_CONNECTION_URI=postgres://u:p@h/d"}, "d: {[d] []} {[public] false} {[] true}"},
		{[]string{"DATABASE_CONNECTION_URI=postgres://u:p@h/d?schema=e"}, "d: {[d] []} {[e] false} {[e] false}"},
		{[]string{"DATABASE_CONNECTION_URI=postgres://u:p@h/d?schema=e", "PATCH_SCHEMAS=b , a,b"}, "d: {[d] []} {[a b] false} {[a b] false}"},
		{[]string{"DATABASE_CONNECTION_URI=postgres://u:p@h/d?schema=e", "PATCH_SCHEMAS=b"}, "d: {[d] []} {[b] false} {[b] false}"},
		{[]string{"DATABASE_CONNECTION_URI=postgres://u:p@h/d?schema=e", "PATCH_SCHEMAS=*"}, "d: {[d] []} {[] true} {[] true}"},
		{[]string{"DATABASE_CONNECTION_URI=postgres://u:p@h/d", "PATCH_DATABASES=y,x,e*"}, "d: {[x y] [e*]} {[public] false} {[] true}"},
		{[]string{"DATABASE_CONNECTION_URI=postgres://u:p@h/d", "PATCH_DATABASES=x,e*"}, "d: {[x] [e*]} {[public] false} {[] true}"},
		{[]string{"DATABASE_CONNECTION_URI=postgres://u:p@h/d", "PATCH_DATABASES=*"}, "d: {[] [*]} {[public] false} {[] true}"},
		{[]string{two}, "d: {[d] []} {[e] false} {[e] false}; f: {[f] []} {[public] false} {[] true}"},
		{[]string{"DATABASE_CONNECTION_URI='postgres://u:p@h/d?schema=e' 'postgres://u:p@i/f'"}, "d: {[d] []} {[e] false} {[e] false}; f: {[f] []} {[public] false} {[] true}"},
		{[]string{"PGHOST=h", "PGUSER=u", "PGDATABASE=g"}, "g: {[g] []} {[public] false} {[] true}"},
		{[]string{"DATABASE_CONNECTION_URI=postgres://u:p@h/d", "PGHOST=h", "PGUSER=u", "PGDATABASE=g"}, "d: {[d] []} {[public] false} {[] true}"},
		{[]string{"DATABASE_URL=postgres://u:p@h/z", "PGHOST=h", "PGUSER=u"}, "z: {[z] []} {[public] false} {[] true}"},
	} {
		cfg, err := Parse(t.Context(), c.variables)
		if err != nil {
			t.Fatal(err)
		}
		var found []string
		for _, target := range cfg.Targets {
			found = append(found, fmt.Sprintf("%s: %v %v %v", target.Database(), target.Databases, target.Schemas, target.SchemasOfOthers))
		}
		if got := strings.Join(found, "; "); got != c.want {
			t.Errorf("%q:\n%s\nwant\n%s", c.variables, got, c.want)
		}
	}
	several, err := Parse(t.Context(), []string{two})
	if err != nil || !several.several() {
		t.Errorf("%v, or two targets are not several", err)
	}
}

// Where every connection string of several is in quotes, the outermost two were taken for a pair around the whole.
func TestSplitURIs(t *testing.T) {
	for uri, want := range map[string]string{
		"a": "[a]", "a b": "[a b]", "a \t\r\n\v\f b": "[a b]", "a' 'b": "['a' 'b']", `a" "b`: `["a" "b"]`, "a' 'b' 'c": "['a' 'b' 'c']",
		"a' b": "[a' b]", "a 'b": "[a 'b]", `a' "b`: `[a' "b]`, "'": "[']", "a'": "[a']", "a' b 'c": "['a' b 'c']",
	} {
		if got := fmt.Sprint(splitURIs(uri)); got != want {
			t.Errorf("%q: %s, want %s", uri, got, want)
		}
	}
}

// The server is told who connects.
func TestApplicationName(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	first := make(chan []byte)
	go func() {
		startup := make([]byte, 1024)
		if conn, err := listener.Accept(); err == nil {
			n, _ := conn.Read(startup)
			conn.Close()
			startup = startup[:n]
		}
		first <- startup
	}()
	cfg, err := Parse(t.Context(), []string{fmt.Sprintf("DATABASE_CONNECTION_URI=postgresql://u:p@%s/d?sslmode=disable", listener.Addr())})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := cfg.Targets[0].Connect(t.Context()); err == nil {
		t.Error("connected to a server that hangs up")
	}
	if startup := <-first; !bytes.Contains(startup, []byte("\x00application_name\x00evolution-openai-patch\x00")) {
		t.Errorf("%q", startup)
	}
}

// In a pattern, * takes any characters of a name, a slash too.
func TestPatterns(t *testing.T) {
	for _, c := range []struct {
		patterns, name string
		want           bool
	}{
		{"evolution*", "evolution", true},
		{"evolution*", "evolution_x", true},
		{"evolution*", "my_evolution", false},
		{"e?", "e/", true},
		{"e*", "e/x/y", true},
		{"a*,b*", "bc", true},
		{"a*,b*", "cb", false},
		{"[ab]x", "bx", true},
		{`\*`, "*", true},
		{`\*`, "x", false},
		{"e/*", "e/x", true},
		{"x", "x", false},
	} {
		var d Databases
		if err := d.UnmarshalText([]byte(c.patterns)); err != nil {
			t.Fatal(err)
		}
		if d.matches(c.name) != c.want {
			t.Errorf("%s matches %s: %t, want %t", c.patterns, c.name, !c.want, c.want)
		}
	}
}
