package plan

import (
	"fmt"
	"strings"

	"evolution-openai-patch/patch/quote"
)

// index plans to drop the unique indexes and unique constraints whose only key column is f.Column, or to create Evolution's again.
func (p *Plan) index(f Fix, r Request, s State) error {
	if s.notYet(f) {
		p.Found[f.Name] = "no column " + quote.Identifier(f.Column) + " yet"
		return nil
	}
	if err := checkIndexes(f, s); err != nil {
		return err
	}
	var unique []*Index
	plainIndex := false // there is one under the name of Evolution's
	for _, x := range s.Table.Indexes {
		if !x.Covers(f.Column) {
			continue
		}
		p.Found[f.Name] = strings.TrimPrefix(p.Found[f.Name]+"; "+x.Definition, "; ")
		if x.Unique {
			unique = append(unique, x)
		} else if s.Named(x, f.Index) {
			plainIndex = true
		}
	}
	if p.Found[f.Name] == "" {
		p.Found[f.Name] = "no index on " + quote.Identifier(f.Column)
	}
	if r.KeepNames && !plainIndex && len(unique) == 0 {
		p.Found[f.Name] += "; no plain index under the name " + f.Index
	}

	definition := fmt.Sprintf("INDEX %s ON %s (%s)", quote.Identifier(f.Index), s.QualifiedTable(), quote.Identifier(f.Column))
	if r.Goal == Revert {
		if plainIndex {
			p.add("DROP INDEX IF EXISTS %s", quote.Qualified(s.Schema, f.Index))
			p.say("dropped the plain index %s", f.Index)
		}
		if len(unique) == 0 {
			p.add("CREATE UNIQUE %s", definition)
			p.say("created the unique index on %s", quote.Identifier(f.Column))
		}
		return nil
	}
	for _, x := range unique {
		p.add("%s", dropUnique(s, x))
		p.say("dropped the unique index on %s", quote.Identifier(f.Column))
	}
	// A release that is not known yet may have dropped the index itself, and a later one may use the name for something else.
	if r.KeepNames && !plainIndex && (len(unique) > 0 || !beyondKnown(s.Migrations.Last)) {
		p.add("CREATE %s", definition)
		p.say("left a plain index under the name %s", f.Index)
	}
	return nil
}

// dropUnique returns the statement that drops a unique index, or the constraint that it implements.
func dropUnique(s State, x *Index) string {
	if c := x.Constraint("u"); c != nil {
		return fmt.Sprintf("ALTER TABLE %s DROP CONSTRAINT IF EXISTS %s", s.QualifiedTable(), quote.Identifier(c.Name))
	}
	return "DROP INDEX IF EXISTS " + x.Name
}

// checkIndexes refuses a table whose indexes on the column of a fix are not as Evolution creates them.
func checkIndexes(f Fix, s State) error {
	if s.Table.Column(f.Column) == nil {
		return Refuse("%s has no column %s", s.QualifiedTable(), quote.Identifier(f.Column))
	}
	for _, x := range s.Table.Indexes {
		if err := checkIndex(f, s, x); err != nil {
			return err
		}
	}
	for _, r := range s.Relations {
		if r.Name == f.Index && s.Table.Index(r.OID) == nil {
			return Refuse("%s exists, but as a different thing than an index of %s: a %s", quote.Qualified(s.Schema, r.Name), s.QualifiedTable(), kinds[r.Kind])
		}
	}
	return nil
}

// checkIndex refuses an index that forbids equal values in the column of a fix but is not as Evolution creates it, and one
// that has the name of Evolution's but is something else.
func checkIndex(f Fix, s State, x *Index) error {
	column, covers := s.Table.Column(f.Column), x.Covers(f.Column)
	switch {
	case tooLong(x.Definition) && (x.Unique || x.Constraint("x") != nil || s.Named(x, f.Index)):
		return Refuse("the definition of %s is longer than 4000 characters, so what it forbids is not known: %s", x.Name, shorten(x.Definition, 200))
	case x.Primary && covers:
		return Refuse("%s is the primary key of %s", x.Name, s.QualifiedTable())
	case covers && x.Identity: // which only a unique index can be
		return Refuse("the unique index %s is the replica identity of %s, which logical replication needs: %s", x.Name, s.QualifiedTable(), x.Definition)
	case x.Unique && covers && x.special():
		return Refuse("the unique index %s is not as Evolution creates it, so somebody made it on purpose: %s", x.Name, x.Definition)
	case x.Constraint("x") != nil && mentions(x.Definition, f.Column):
		return Refuse("the exclusion constraint %s of %s is not as Evolution creates it, so somebody made it on purpose: %s",
			quote.Identifier(x.Constraint("x").Name), s.QualifiedTable(), x.Constraint("x").Definition)
	case x.Unique && s.Table.computes(x, f.Column): // which forbids a second row with the same value
		return Refuse("the unique index %s is on a column that is generated from %s: %s; drop it", x.Name, quote.Identifier(f.Column), x.Definition)
	case x.Unique && (x.onlyColumn(column) || x.Expressions && mentions(x.Definition, "*")): // * is the whole row
		return Refuse("the unique index %s may forbid a second row with the same %s, and is not as Evolution creates it: %s", x.Name, quote.Identifier(f.Column), x.Definition)
	case covers && len(x.dependants()) > 0:
		return Refuse("%s is needed by %s", x.Name, strings.Join(x.dependants(), ", "))
	case s.Named(x, f.Index) && (!covers || x.special()):
		return Refuse("an index %s exists, but it is something else: %s", x.Name, x.Definition)
	}
	return nil
}
