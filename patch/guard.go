package patch

import (
	"crypto/sha256"
	_ "embed"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"slices"
	"strings"
)

//go:embed guard_body.sql
var guardBody string

// Guard is what there is of a schema's guard: the one-shot event trigger that does the fixes' work inside Evolution's first
// migration, its function, and the schema that holds that. All of it is what a superuser has made, or this very role.
type Guard struct {
	Owner     string          `json:"owner"`
	Mine      bool            `json:"mine"`    // the role may drop it
	Trusted   bool            `json:"trusted"` // it belongs to a superuser, or to this very role
	Functions []GuardFunction `json:"functions"`
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

// guardSettings are the settings of the guard's function. It waits for no lock worth the name, and no NOTICE of what it
// executes reaches the session.
var guardSettings = []string{"search_path=pg_catalog, pg_temp", "lock_timeout=10ms", "client_min_messages=error", "quote_all_identifiers=off"}

// The guard of the version before this one kept its work in a table.
const (
	formerGuard = "d83aa1e3e13b8445"
	formerTable = "todo"
)

// guardName is the name of a schema's guard: of its event trigger, and of the schema that holds its function.
func guardName(schema string) string {
	h := fnv.New32a()
	_, _ = h.Write([]byte(schema))
	return fmt.Sprintf("%s_%08x", objectName, h.Sum32())
}

// fingerprint stands in the name of a guard's function, and so tells whether the function is as this program made it.
func fingerprint(body string) string {
	return fmt.Sprintf("%x", sha256.Sum256([]byte(body)))[:16]
}

func (f GuardFunction) ours() bool {
	if !f.Exact {
		return false
	}
	if f.Name == "guard" {
		return fingerprint(f.Body) == formerGuard
	}
	return f.Name == "guard_"+fingerprint(f.Body) && sameSettings(f.Settings, guardSettings)
}

// sameSettings compares pg_proc.proconfig, in which quote_all_identifiers leaves quotes.
func sameSettings(found, wanted []string) bool {
	return slices.EqualFunc(found, wanted, func(a, b string) bool { return strings.ReplaceAll(a, `"`, "") == b })
}

// foreign says what of the guard is not as this program made it, "" if nothing.
func (g *Guard) foreign(schema string) string {
	name := quote(guardName(schema))
	remedy := fmt.Sprintf("; if nobody needs it: DROP SCHEMA %s CASCADE", name)
	former := slices.ContainsFunc(g.Functions, func(f GuardFunction) bool { return f.Name == "guard" && f.ours() })
	for _, f := range g.Functions {
		if !f.ours() || !g.Trusted {
			return fmt.Sprintf("schema %s, owned by %s, holds a function %s that this program did not make%s", name, quote(g.Owner), quote(f.Name), remedy)
		}
	}
	for _, o := range g.Others {
		if !former || o != "table "+guardName(schema)+"."+formerTable {
			return fmt.Sprintf("schema %s, owned by %s, holds what this program did not make: %s%s", name, quote(g.Owner), o, remedy)
		}
	}
	switch {
	case !g.Trusted:
		return fmt.Sprintf("schema %s belongs to role %s, which is not a superuser%s", name, quote(g.Owner), remedy)
	case g.Trigger != nil && !slices.ContainsFunc(g.Functions, func(f GuardFunction) bool { return f.OID == g.Trigger.Function }):
		return fmt.Sprintf("event trigger %s calls a function that this program did not make; if nobody needs it: DROP EVENT TRIGGER %s", name, name)
	}
	return ""
}

// armed is what the guard will do, nil if there is none that will fire.
func (g *Guard) armed() *guardWork {
	if g == nil || !g.Trusted || g.Trigger == nil || !g.Trigger.Enabled {
		return nil
	}
	for _, f := range g.Functions {
		if f.OID != g.Trigger.Function || !f.ours() {
			continue
		}
		work := new(guardWork)
		first, _, _ := strings.Cut(f.Body, "\n")
		if _, header, _ := strings.Cut(first, "evolution-openai-patch "); f.Name != "guard" && json.Unmarshal([]byte(header), work) != nil {
			return nil
		}
		return work
	}
	return nil
}

// reserved says that PostgreSQL lets no application create a table in a schema of that name.
func reserved(schema string) bool {
	return strings.HasPrefix(schema, "pg_") || schema == "information_schema"
}

// work is what a guard for this wish does.
func (w wish) work() guardWork {
	work := guardWork{Schema: w.schema, KeepNames: w.keepNames}
	for _, f := range w.fixes {
		work.Fixes = append(work.Fixes, f.Name)
	}
	return work
}

// guard plans for the guard to be armed where there is no table yet and it is asked for, and for its event trigger to be
// gone otherwise. Its function and schema are left to clearGuard.
func (p *Plan) guard(w wish, s State) {
	name := quote(guardName(w.schema))
	drop := "DROP EVENT TRIGGER " + name
	if s.Table != nil || w.goal == Revert {
		if w.goal == Apply && slices.ContainsFunc(w.fixes, s.notYet) {
			return // Evolution's first migrations were interrupted, and it has work to do yet
		}
		if s.Guard != nil && s.Guard.Trigger != nil && s.Guard.Trigger.Mine && s.Guard.foreign(w.schema) == "" {
			p.add("%s", drop)
		}
		return
	}
	if !w.guarded {
		return
	}
	if reserved(w.schema) {
		p.Unguarded = "no application has tables in schema " + quote(w.schema)
		return
	}
	body := w.guardBody(s)
	function := "guard_" + fingerprint(body)
	there := false // the function is
	if g := s.Guard; g != nil {
		if p.Unguarded = g.foreign(w.schema); p.Unguarded != "" {
			return
		}
		for _, f := range g.Functions {
			there = there || f.Name == function
			if t := g.Trigger; f.Name == function && t != nil && t.Function == f.OID && t.Enabled {
				return
			}
		}
		if work := g.armed(); work != nil {
			p.Rearmed = fmt.Sprintf("%s → %s", work, w.work())
		}
		if g.Trigger != nil {
			p.add("%s", drop)
		}
	} else {
		p.add("CREATE SCHEMA %s", name)
	}
	p.add("REVOKE ALL ON SCHEMA %s FROM %s", name, grantees(s))
	if !there {
		var settings strings.Builder
		for _, setting := range guardSettings {
			variable, value, _ := strings.Cut(setting, "=")
			if variable != "search_path" { // its value is a list
				value = literal(value)
			}
			fmt.Fprintf(&settings, " SET %s = %s", variable, value)
		}
		p.add("CREATE FUNCTION %s.%s() RETURNS event_trigger LANGUAGE plpgsql SECURITY DEFINER%s AS %s", name, function, settings.String(), literal(body))
		p.add("REVOKE ALL ON FUNCTION %s.%s() FROM %s", name, function, grantees(s))
	}
	p.add("CREATE EVENT TRIGGER %s ON ddl_command_end WHEN TAG IN ('CREATE INDEX') EXECUTE FUNCTION %s.%s()", name, name, function)
}

// grantees are those whom a new object of this role's is open to, by PostgreSQL's default and by default privileges.
func grantees(s State) string {
	names := []string{"PUBLIC"}
	for _, g := range s.Grantees {
		names = append(names, quote(g))
	}
	return strings.Join(names, ", ")
}

// guardBody is the text of the guard's function: for each index, what plan makes of the State in which a migration has
// just created it.
func (w wish) guardBody(s State) string {
	var commands strings.Builder
	last := ""
	for _, f := range w.fixes {
		if f.Index == "" {
			continue
		}
		last = f.Index
		fmt.Fprintf(&commands, "IF created.index = %s THEN\n", literal(f.Index))
		for _, sql := range w.commandsOnCreate(f, s) {
			fmt.Fprintf(&commands, "            %s;\n", sql)
		}
		if slices.ContainsFunc(w.fixes, func(other Fix) bool { return other.Pad && other.Needs == f.Name }) {
			fmt.Fprintf(&commands, "            EXECUTE pg_catalog.format('ALTER FUNCTION %%s OWNER TO %%I', %s, created.owner);\n", literal(qualified(w.schema, objectName)+"()"))
		}
		fmt.Fprintf(&commands, "        END IF;\n        ")
	}
	fmt.Fprintf(&commands, "IF created.index = %s THEN\n            DROP EVENT TRIGGER %s;\n        END IF;", literal(last), quote(guardName(w.schema)))
	header, _ := json.Marshal(w.work()) // of strings and a bool
	return strings.NewReplacer(":header", string(header), ":'schema'", literal(w.schema), ":'guard'", literal(guardName(w.schema)),
		":commands", commands.String()).Replace(guardBody)
}

// commandsOnCreate are the statements for the moment at which a migration has created f.Index, for this fix and for those
// that need it.
func (w wish) commandsOnCreate(f Fix, s State) []string {
	then := wish{keepNames: w.keepNames, schema: w.schema}
	for _, other := range w.fixes {
		if other.Name == f.Name || other.Needs == f.Name {
			then.fixes = append(then.fixes, other)
		}
	}
	p, _ := plan(then, State{
		Schema: w.schema, Table: &TableInfo{Kind: "r", Readable: true, Columns: []Column{{Name: f.Column, Text: true}}}, Keys: &Keys{},
		Indexes: []Index{{Name: qualified(w.schema, f.Index), Unique: true, Keys: 1, Key: f.Column}}, Grantees: s.Grantees,
	}) // nothing in it can be refused
	return p.SQL
}

// literal makes an SQL string of a text.
func literal(s string) string {
	quoted := "'" + strings.ReplaceAll(s, "'", "''") + "'"
	if strings.Contains(s, `\`) {
		return " E" + strings.ReplaceAll(quoted, `\`, `\\`) // whatever standard_conforming_strings is
	}
	return quoted
}
