package plan

import (
	"crypto/sha256"
	_ "embed"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"slices"
	"strings"

	"evolution-openai-patch/patch/quote"
)

// Guard is what there is of a schema's guard: a one-shot event trigger that applies the fixes inside Evolution's first
// migrations, its function, and the schema that holds the function. All of it was made by a superuser or by the role that
// is connected.
type Guard struct {
	Owner     string          `json:"owner"`
	Mine      bool            `json:"mine"`    // the role may drop it
	Trusted   bool            `json:"trusted"` // it belongs to a superuser or to the role itself
	Functions []GuardFunction `json:"-"`
	Others    []string        `json:"others"` // what else is in the schema
	Trigger   *GuardTrigger   `json:"trigger"`
}

// GuardFunction is a function in the guard's schema.
type GuardFunction struct {
	OID      string   `json:"oid"`
	Name     string   `json:"name"`
	Body     string   `json:"body"`
	Settings []string `json:"settings"`
	Exact    bool     `json:"exact"` // SECURITY DEFINER, in PL/pgSQL, for an event trigger, owned as the schema is
}

// GuardTrigger is the event trigger.
type GuardTrigger struct {
	Function string `json:"function"` // its OID
	Enabled  bool   `json:"enabled"`
	Mine     bool   `json:"mine"` // the role may drop it
}

// guardWork is what a guard does. It stands in the first line of its function.
type guardWork struct {
	Schema    string   `json:"schema"`
	Fixes     []string `json:"fixes"`
	KeepNames bool     `json:"keep_index_names"`
}

func (g guardWork) String() string {
	return fmt.Sprintf("%s (PATCH_KEEP_INDEX_NAMES=%t)", strings.Join(g.Fixes, ","), g.KeepNames)
}

// guardSettings are the settings of the guard's function: it hardly waits for a lock, sends the session no notice, and none of its
// errors ends the session.
var guardSettings = []string{"search_path=pg_catalog, pg_temp", "lock_timeout=10ms", "client_min_messages=error", "quote_all_identifiers=off", "default_tablespace=", "exit_on_error=off"}

// GuardName returns the name of a schema's event trigger, which is that of the schema that holds its function.
func GuardName(schema string) string {
	h := fnv.New32a()
	_, _ = h.Write([]byte(schema))
	return fmt.Sprintf("%s_%08x", ObjectName, h.Sum32())
}

// guardFunctionName returns the name of a guard's function, which shows whether its body is as the program made it.
func guardFunctionName(body string) string {
	return fmt.Sprintf("guard_%x", sha256.Sum256([]byte(body)))[:len("guard_")+16]
}

// ours reports whether the function is as the program made it, for whatever fixes.
func (f GuardFunction) ours() bool {
	return f.Exact && f.Name == guardFunctionName(f.Body) && f.work() != nil &&
		slices.EqualFunc(f.Settings, guardSettings, func(found, wanted string) bool {
			return strings.ReplaceAll(found, `"`, "") == wanted // without the quotes of quote_all_identifiers
		})
}

// Foreign says what of the guard is not as the program made it, and what to do about it; "" for nothing.
func (g *Guard) Foreign(schema string) string {
	name := quote.Identifier(GuardName(schema))
	remedy := fmt.Sprintf("; if nobody needs it: DROP SCHEMA %s CASCADE", name)
	for _, f := range g.Functions {
		if !f.ours() || !g.Trusted {
			return fmt.Sprintf("schema %s, owned by %s, holds a function %s that this program did not make%s", name, quote.Identifier(g.Owner), quote.Identifier(f.Name), remedy)
		}
		if other := f.work().Schema; other != schema { // the names of two schemas have the same hash
			return fmt.Sprintf("schema %s holds the guard of another schema, %s; only one of the two can have a guard at a time",
				name, quote.Identifier(other))
		}
	}
	switch {
	case len(g.Others) > 0:
		return fmt.Sprintf("schema %s, owned by %s, holds what this program did not make: %s%s",
			name, quote.Identifier(g.Owner), g.Others[0], remedy)
	case !g.Trusted:
		return fmt.Sprintf("schema %s belongs to role %s, which is not a superuser%s", name, quote.Identifier(g.Owner), remedy)
	case g.Trigger != nil && !slices.ContainsFunc(g.Functions, func(f GuardFunction) bool { return f.OID == g.Trigger.Function }):
		return foreignTrigger(schema)
	}
	return ""
}

// foreignTrigger says the same of an event trigger that has the name of the guard's and calls another function.
func foreignTrigger(schema string) string {
	name := quote.Identifier(GuardName(schema))
	return fmt.Sprintf("event trigger %s calls a function that this program did not make; if nobody needs it: DROP EVENT TRIGGER %s", name, name)
}

// work returns what the guard will do for a schema, nil if there is none that will fire for it.
func (g *Guard) work(schema string) *guardWork {
	if g == nil || !g.Trusted || g.Trigger == nil || !g.Trigger.Enabled {
		return nil
	}
	f := find(g.Functions, func(f GuardFunction) bool { return f.OID == g.Trigger.Function })
	if f == nil || !f.ours() || f.work().Schema != schema {
		return nil
	}
	return f.work()
}

// work returns what stands in the first line of the function, nil if that is not what the program writes there.
func (f GuardFunction) work() *guardWork {
	work := new(guardWork)
	first, _, _ := strings.Cut(f.Body, "\n")
	if _, header, _ := strings.Cut(first, "evolution-openai-patch "); json.Unmarshal([]byte(header), work) != nil {
		return nil
	}
	return work
}

// Guards reports whether a guard will apply all of these fixes.
func (s State) Guards(fixes []Fix) bool {
	work := s.Guard.work(s.Schema)
	return work != nil && !slices.ContainsFunc(fixes, func(f Fix) bool { return !slices.Contains(work.Fixes, f.Name) })
}

// guard plans to install the guard if there is no table yet and it is requested, and to drop its event trigger otherwise. The
// function and the schema are dropped by Remove, later.
func (p *Plan) guard(r Request, s State) {
	if s.Table == nil && r.Goal == Apply {
		if r.Guard {
			p.installGuard(r, s)
		}
		return
	}
	if r.Goal == Apply && slices.ContainsFunc(r.Fixes, s.notYet) {
		return // Evolution's first migrations were interrupted, and the guard still has work to do
	}
	if g := s.Guard; g != nil && g.Trigger != nil && g.Trigger.Mine && g.Foreign(r.Schema) == "" {
		p.add("DROP EVENT TRIGGER %s", quote.Identifier(GuardName(r.Schema)))
		p.say("removed the guard")
	}
}

// Remove returns what drops the function and the schema of a guard that has fired or was removed.
func (g *Guard) Remove(schema string) (sql []string) {
	name := quote.Identifier(GuardName(schema))
	for _, f := range g.Functions {
		sql = append(sql, fmt.Sprintf("DROP FUNCTION %s.%s()", name, quote.Identifier(f.Name)))
	}
	return append(sql, "DROP SCHEMA "+name)
}

// unguarded says why no guard can be installed, "" if one can.
func unguarded(r Request, s State) string {
	foreign, fragile := s.ForeignEventTrigger(), find(s.EventTriggers, func(e EventTrigger) bool { return e.Fragile })
	switch {
	case strings.HasPrefix(r.Schema, "pg_") || r.Schema == "information_schema": // in which PostgreSQL lets nobody create a table
		return "no application has tables in schema " + quote.Identifier(r.Schema)
	case find(s.EventTriggers, func(e EventTrigger) bool { return e.Taken }) != nil:
		return foreignTrigger(r.Schema)
	case foreign != nil && foreign.Name != GuardName(r.Schema): // Foreign tells of that one
		return fmt.Sprintf("event trigger %s would run a function of role %s with the rights of %s",
			quote.Identifier(foreign.Name), quote.Identifier(foreign.Owner), quote.Identifier(s.Role))
	case fragile != nil:
		return fmt.Sprintf("before PostgreSQL 14 it could make event trigger %s fail, and Evolution's migration with it", quote.Identifier(fragile.Name))
	case s.Guard != nil && s.Guard.Foreign(r.Schema) != "":
		return s.Guard.Foreign(r.Schema)
	case s.Guard.work(r.Schema) != nil: // one that is armed stays, or is replaced, whatever others have created since
		return ""
	}
	return s.notEvolutions()
}

// notEvolutions says why Evolution is not about to migrate the schema, "" if it may be.
func (s State) notEvolutions() string {
	switch {
	case s.List == nil && len(s.Strangers) == 0, s.Migrations.Evolutions:
		return ""
	case s.List == nil:
		return fmt.Sprintf("schema %s holds %s, and nothing of Evolution's", quote.Identifier(s.Schema), quote.Identifier(s.Strangers[0].Name))
	case !s.List.CanCopy(ListColumns...):
		return "role " + quote.Identifier(s.Role) + " cannot read " + quote.Qualified(s.Schema, MigrationsName)
	case s.Migrations.Listed:
		return fmt.Sprintf("schema %s holds the migrations of another application", quote.Identifier(s.Schema))
	}
	return ""
}

// GuardedSchema returns the name of the schema that a guard is for, from the first line of its function; "" if that is not a guard's.
func GuardedSchema(line string) string {
	if work := (GuardFunction{Body: line}).work(); work != nil {
		return work.Schema
	}
	return ""
}

// installGuard adds what creates the guard, or replaces one that was installed for another request.
func (p *Plan) installGuard(r Request, s State) {
	if p.Unguarded = unguarded(r, s); p.Unguarded != "" {
		return
	}
	name, body := quote.Identifier(GuardName(r.Schema)), guardBody(r, s)
	function := guardFunctionName(body)
	var same *GuardFunction // that is there already
	if g := s.Guard; g == nil {
		p.add("CREATE SCHEMA %s", name)
	} else {
		same = find(g.Functions, func(f GuardFunction) bool { return f.Name == function })
		if t := g.Trigger; same != nil && t != nil && t.Function == same.OID && t.Enabled {
			return
		}
		if work := g.work(r.Schema); work != nil && work.String() != r.guardWork().String() {
			p.Replaced = fmt.Sprintf("%s → %s", work, r.guardWork())
		}
		if g.Trigger != nil {
			p.add("DROP EVENT TRIGGER %s", name)
		}
	}
	p.add("REVOKE ALL ON SCHEMA %s FROM %s", name, s.grantees())
	if same == nil {
		p.add("CREATE FUNCTION %s.%s() RETURNS event_trigger LANGUAGE plpgsql SECURITY DEFINER%s AS %s", name, function, guardSetClauses(), quote.Literal(body))
		p.add("REVOKE ALL ON FUNCTION %s.%s() FROM %s", name, function, s.grantees())
	}
	p.add("CREATE EVENT TRIGGER %s ON ddl_command_end WHEN TAG IN ('CREATE INDEX') EXECUTE FUNCTION %s.%s()", name, name, function)
	p.say("installed the guard")
}

// guardSetClauses returns the SET clauses of CREATE FUNCTION for guardSettings.
func guardSetClauses() string {
	var b strings.Builder
	for _, setting := range guardSettings {
		variable, value, _ := strings.Cut(setting, "=")
		if variable != "search_path" { // whose value is a list
			value = quote.Literal(value)
		}
		fmt.Fprintf(&b, " SET %s = %s", variable, value)
	}
	return b.String()
}
