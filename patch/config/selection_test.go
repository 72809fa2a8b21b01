package config

import (
	"bytes"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"
)

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
		}{{"changes", cfg.MayChange()}, {"watches", cfg.Watches()}, {"waits", cfg.WaitsForTable()}, {"requires", cfg.TableRequired()}, {"several", cfg.several()}} {
			if mode.holds {
				holds = append(holds, mode.name)
			}
		}
		if got := strings.Join(holds, " "); got != c.want {
			t.Errorf("%s: %s, want %s", c.variables, got, c.want)
		}
		if level := cfg.ItemLevel().String(); (level == "DEBUG") != slices.Contains(holds, "several") {
			t.Errorf("%s: what is routine is logged at level %s", c.variables, level)
		}
	}
	cfg, err := Parse(t.Context(), []string{goodURI, "PATCH_CONNECT_TIMEOUT=3s", "PATCH_LOCK_TIMEOUT=7ms"})
	if l := cfg.Limits(); err != nil || l.Idle != 3*time.Second || l.Lock != 7*time.Millisecond || l.Statement != 0 {
		t.Errorf("%v, %+v", err, l)
	}
}

// TestSources holds the databases and schemas of each target against what was set.
func TestSources(t *testing.T) {
	const two = "DATABASE_CONNECTION_URI=postgres://u:p@h/d?schema=e \t\n'postgres://u:p@i/f'"
	for _, c := range []struct {
		variables []string
		want      string // database: databases schemas schemas of others
	}{
		{[]string{"DATABASE_CONNECTION_URI=postgres://u:p@h/d"}, "d: {[d] [] []} {[public] false} {[] true}"},
		{[]string{"DATABASE_CONNECTION_URI=postgres://u:p@h/d?schema=e"}, "d: {[d] [] []} {[e] false} {[e] false}"},
		{[]string{"DATABASE_CONNECTION_URI=postgres://u:p@h/d?schema=e", "PATCH_SCHEMAS=b , a,b"}, "d: {[d] [] []} {[a b] false} {[a b] false}"},
		{[]string{"DATABASE_CONNECTION_URI=postgres://u:p@h/d?schema=e", "PATCH_SCHEMAS=b"}, "d: {[d] [] []} {[b] false} {[b] false}"},
		{[]string{"DATABASE_CONNECTION_URI=postgres://u:p@h/d?schema=e", "PATCH_SCHEMAS=*"}, "d: {[d] [] []} {[] true} {[] true}"},
		{[]string{"DATABASE_CONNECTION_URI=postgres://u:p@h/d", "PATCH_DATABASES=y,x,e*"}, "d: {[x y] [e*] []} {[public] false} {[] true}"},
		{[]string{"DATABASE_CONNECTION_URI=postgres://u:p@h/d", "PATCH_DATABASES=x,e*"}, "d: {[x] [e*] []} {[public] false} {[] true}"},
		{[]string{"DATABASE_CONNECTION_URI=postgres://u:p@h/d", "PATCH_DATABASES=*"}, "d: {[] [*] []} {[public] false} {[] true}"},
		{[]string{"DATABASE_CONNECTION_URI=postgres://u:p@h/d", "PATCH_DATABASES='!y*,!z'"}, "d: {[] [*] [y* z]} {[public] false} {[] true}"},
		{[]string{"DATABASE_CONNECTION_URI=postgres://u:p@h/d", "PATCH_DATABASES=x,!y"}, "d: {[x] [] [y]} {[public] false} {[] true}"},
		{[]string{two}, "d: {[d] [] []} {[e] false} {[e] false}; f: {[f] [] []} {[public] false} {[] true}"},
		{[]string{"DATABASE_CONNECTION_URI='postgres://u:p@h/d?schema=e' 'postgres://u:p@i/f'"}, "d: {[d] [] []} {[e] false} {[e] false}; f: {[f] [] []} {[public] false} {[] true}"},
		{[]string{"PGHOST=h", "PGUSER=u", "PGDATABASE=g"}, "g: {[g] [] []} {[public] false} {[] true}"},
		{[]string{"DATABASE_CONNECTION_URI=postgres://u:p@h/d", "PGHOST=h", "PGUSER=u", "PGDATABASE=g"}, "d: {[d] [] []} {[public] false} {[] true}"},
		{[]string{"DATABASE_URL=postgres://u:p@h/z", "PGHOST=h", "PGUSER=u"}, "z: {[z] [] []} {[public] false} {[] true}"},
	} {
		cfg, err := Parse(t.Context(), c.variables)
		if err != nil {
			t.Fatal(err)
		}
		var found []string
		for _, target := range cfg.Sources {
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
	if _, err := cfg.Sources[0].Connect(t.Context(), time.Minute); err == nil {
		t.Error("connected to a server that hangs up")
	}
	if startup := <-first; !bytes.Contains(startup, []byte("\x00application_name\x00evolution-openai-patch\x00")) {
		t.Errorf("%q", startup)
	}
}

// match is whether patterns match the name of a database.
type match struct {
	patterns, name string
	want           bool
}

func testMatches(t *testing.T, matches []match) {
	t.Helper()
	for _, c := range matches {
		var d Databases
		if err := d.UnmarshalText([]byte(c.patterns)); err != nil {
			t.Fatal(err)
		}
		if d.Matches(c.name) != c.want {
			t.Errorf("%s matches %s: %t, want %t", c.patterns, c.name, !c.want, c.want)
		}
	}
}

// In a pattern, * takes any characters of a name, a slash too.
func TestPatterns(t *testing.T) {
	testMatches(t, []match{
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
	})
}

// What a pattern with a leading ! matches is left out, whatever other patterns say.
func TestPatternsThatLeaveOut(t *testing.T) {
	testMatches(t, []match{
		{"*,!b", "a", true},
		{"*,!b", "b", false},
		{"!b,*", "b", false},
		{"*,!b", "bb", true},
		{"!b", "a", true},
		{"!b", "b", false},
		{"! b ", "b", false},
		{"!b,!c", "c", false},
		{"!b*", "bb", false},
		{"a*,!*b", "ab", false},
		{"a*,!*b", "c", false},
		{"x,!b", "a", false},
		{"![ab]", "b", false},
		{"![!ab]", "b", true},
		{"![!ab]", "c", false},
		{`\!b`, "!b", true},
		{`\!b`, "b", false},
		{`!\!b`, "!b", false},
	})
}

// In brackets, ! and ^ at the beginning negate, and are characters like any other elsewhere.
func TestPatternsThatNegate(t *testing.T) {
	testMatches(t, []match{
		{"pa_[!a]", "pa_a", false},
		{"pa_[!a]", "pa_!", true},
		{"pa_[!a]", "pa_b", true},
		{"pa_[!a]", "pa_bb", false},
		{"pa_[^a]", "pa_a", false},
		{"pa_[^a]", "pa_^", true},
		{"[a!]", "!", true},
		{"[a!]", "b", false},
		{"[!!]", "!", false},
		{"[!!]", "a", true},
		{"[^!]", "!", false},
		{"[!/]", "/", false},
		{"[!a-c]x[!y]", "dxz", true},
		{"[!a-c]x[!y]", "bxz", false},
		{`[\!a]`, "!", true},
		{`[\!a]`, "b", false},
		{`\[!a]`, "[!a]", true},
		{"[[!]", "!", true},
		{"[[!]", "a", false},
	})
}
