package patch

import (
	_ "embed"
	"fmt"
	"hash/fnv"
	"strings"
)

//go:embed guard.sql
var guardBody string

// Guard is the event trigger that waits for Evolution's first migration to create the indexes.
type Guard struct {
	Signature string `json:"signature"` // what it was armed with
	Enabled   bool   `json:"enabled"`
	Mine      bool   `json:"mine"` // the role may drop it
}

// guardName is the name of a schema's guard: of its event trigger, and of the schema that holds what belongs to it.
func guardName(schema string) string {
	return fmt.Sprintf("%s_%08x", ours, hash(schema))
}

func hash(s string) uint32 {
	h := fnv.New32a()
	_, _ = h.Write([]byte(s))
	return h.Sum32()
}

// guard plans for the guard to be armed where there is no table yet and it is asked for, and to be gone otherwise.
func (p *Plan) guard(w wish, s State) {
	name := quote(guardName(w.schema))
	disarm := []string{
		"DROP EVENT TRIGGER IF EXISTS " + name,
		"DROP FUNCTION IF EXISTS " + name + ".guard()",
		"DROP TABLE IF EXISTS " + name + ".todo",
		"DROP SCHEMA IF EXISTS " + name,
	}
	if s.Table != nil || w.goal == Revert {
		if s.Guard != nil && s.Guard.Mine {
			p.SQL = append(p.SQL, disarm...)
		}
		return
	}
	if !w.guarded {
		return
	}
	var todo []string
	for _, f := range w.fixes {
		if f.Index != "" {
			todo = append(todo, fmt.Sprintf("(%s, %s, ARRAY[%s])", literal(w.schema), literal(f.Index), strings.Join(w.whenCreated(f), ", ")))
		}
	}
	arm := []string{
		"CREATE SCHEMA " + name,
		"CREATE TABLE " + name + ".todo (schema name, index name, commands text[])",
		"INSERT INTO " + name + ".todo VALUES " + strings.Join(todo, ", "),
		"CREATE FUNCTION " + name + ".guard() RETURNS event_trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = " + name + ", pg_catalog, pg_temp AS $guard$" + guardBody + "$guard$",
		"CREATE EVENT TRIGGER " + name + " ON ddl_command_end WHEN TAG IN ('CREATE INDEX') EXECUTE FUNCTION " + name + ".guard()",
	}
	signature := fmt.Sprintf("%08x", hash(strings.Join(arm, ";")))
	if s.Guard != nil && s.Guard.Enabled && s.Guard.Signature == signature {
		return
	}
	if s.Guard != nil {
		p.SQL = append(p.SQL, disarm...)
	}
	p.SQL = append(append(p.SQL, arm...), "COMMENT ON EVENT TRIGGER "+name+" IS "+literal(signature))
}

// whenCreated are the statements for the moment at which a migration has created f.Index, as literals: what plan makes
// of that State, for this fix and for those that need it.
func (w wish) whenCreated(f Fix) (literals []string) {
	then := wish{keepNames: w.keepNames, schema: w.schema}
	for _, other := range w.fixes {
		if other.Name == f.Name || other.Needs == f.Name {
			then.fixes = append(then.fixes, other)
		}
	}
	p, _ := plan(then, State{
		Schema: w.schema, Table: &TableInfo{Kind: "r"}, Background: Background{Columns: []string{f.Column}},
		Indexes: []Index{{Name: qualified(w.schema, f.Index), Unique: true, Keys: 1, Key: f.Column}},
	}) // nothing in it can be refused
	for _, sql := range p.SQL {
		literals = append(literals, literal(sql))
	}
	return literals
}

// literal makes an SQL string of a text.
func literal(s string) string {
	quoted := "'" + strings.ReplaceAll(s, "'", "''") + "'"
	if strings.Contains(s, `\`) {
		return " E" + strings.ReplaceAll(quoted, `\`, `\\`) // whatever standard_conforming_strings is
	}
	return quoted
}
