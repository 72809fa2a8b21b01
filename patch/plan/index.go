package plan

import (
	"cmp"
	"fmt"
	"strings"

	"evolution-openai-patch/patch/quote"
)

// IndexComment is the comment on a plain index that is left in place of a unique one, so that revert knows what was taken.
const IndexComment = indexMark + " left this index in place of a unique one, which PATCH_ACTION=revert creates again"

// indexMark begins the comments of all versions.
const indexMark = "evolution-openai-patch"

// stands reports whether the index was left in place of a unique one.
func (x *Index) stands() bool {
	return !x.Unique && !x.special() && strings.HasPrefix(x.Comment, indexMark)
}

// kept returns the indexes on the column of a fix that were left in place of a unique one, under whatever names.
func (s State) kept(f Fix) (found []*Index) {
	for _, x := range s.Table.Indexes {
		if x.Covers(f.Column) && x.stands() {
			found = append(found, x)
		}
	}
	return found
}

// index plans to drop the unique indexes and unique constraints whose only key column is f.Column, or to create Evolution's again.
func (p *Plan) index(f Fix, r Request, s State) error {
	if s.notYet(f) {
		p.Found[f.Name] = "no column " + quote.Identifier(f.Column) + " yet"
		return nil
	}
	if err := checkIndexes(f, s); err != nil {
		return err
	}
	var definitions []string
	var unique []*Index
	for _, x := range s.Table.Indexes {
		if !x.Covers(f.Column) {
			continue
		}
		definitions = append(definitions, x.Definition)
		if x.Unique {
			unique = append(unique, x)
		}
	}
	p.Found[f.Name] = cmp.Or(strings.Join(definitions, "; "), "no index on "+quote.Identifier(f.Column))
	if r.Goal == Revert {
		p.restore(f, s, len(unique) > 0)
		return nil
	}
	for _, x := range unique {
		p.add("%s", dropUnique(s, x))
		p.say("dropped the unique index on %s", quote.Identifier(f.Column))
	}
	if r.KeepNames {
		p.keepName(f, s, len(unique) > 0)
	}
	return nil
}

// keepName leaves a plain index, with a comment, under the name of the unique one that was dropped, now or before. It replaces nobody's
// comment. Where none is dropped now, that is only done for releases which are known: a later one may have dropped the index itself, and
// may use its name.
func (p *Plan) keepName(f Fix, s State, dropped bool) {
	named := s.plain(f.Index)
	if named != nil && named.Comment != "" || named == nil && !s.Table.Creates || !dropped && (!s.Migrations.known() || len(s.kept(f)) > 0) {
		return
	}
	steps := &p.later
	if dropped {
		steps = &p.Steps
	}
	if named == nil {
		steps.add("CREATE INDEX %s ON %s (%s)", quote.Identifier(f.Index), s.QualifiedTable(), quote.Identifier(f.Column))
		steps.say("left a plain index under the name %s", f.Index)
	} else {
		steps.say("marked the plain index %s as one that stands for a unique index", f.Index)
	}
	steps.add("COMMENT ON INDEX %s IS %s", quote.Qualified(s.Schema, f.Index), quote.Literal(IndexComment))
}

// Unkept reports whether no index has the name of the unique one that a fix drops, where Evolution's releases that are known have it.
func (s State) Unkept(f Fix) bool {
	return f.Index != "" && s.Lacks(f) && s.Migrations.known() && s.Table.indexNamed(f.Index) == nil && len(s.kept(f)) == 0
}

// plain returns the index of the table that has a name and is not unique, nil if there is none.
func (s State) plain(name string) *Index {
	if x := s.Table.indexNamed(name); x != nil && !x.Unique {
		return x
	}
	return nil
}

// restore makes unique again what stands for a unique index. Where nothing does, Evolution's unique index is created for releases which
// are known to have it; a later one may have lifted the uniqueness itself. An index of its name that has somebody's comment is somebody's.
func (p *Plan) restore(f Fix, s State, unique bool) {
	kept, name := s.kept(f), f.Index
	named := s.plain(f.Index)
	if named != nil && named.Comment == "" && len(kept) == 0 && !unique && s.Migrations.known() {
		kept = []*Index{named} // of an earlier version, which left no comment
	}
	for i, x := range kept {
		if i == 0 || x.Bare == f.Index {
			name = x.Bare
		}
		p.add("DROP INDEX IF EXISTS %s", x.Name)
		p.say("dropped the plain index %s", x.Bare)
	}
	create := fmt.Sprintf("CREATE UNIQUE INDEX %s ON %s (%s)", quote.Identifier(name), s.QualifiedTable(), quote.Identifier(f.Column))
	switch {
	case unique:
	case len(kept) > 0 || s.Migrations.known() && named == nil:
		p.add("%s", create)
		p.say("created the unique index on %s", quote.Identifier(f.Column))
		p.Unique = append(p.Unique, f)
	default:
		if named != nil {
			create = "DROP INDEX " + named.Name + "; " + create
		}
		p.Left = append(p.Left, create)
	}
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
	case tooLong(x.Definition) && (x.Unique || x.Constraint("x") != nil || x.Bare == f.Index):
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
	case x.Bare == f.Index && (!covers || x.special()):
		return Refuse("an index %s exists, but it is something else: %s", x.Name, x.Definition)
	}
	return nil
}
