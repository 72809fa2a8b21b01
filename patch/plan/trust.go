package plan

import (
	"fmt"
	"strings"

	"evolution-openai-patch/patch/quote"
)

// CheckPadding refuses a function or trigger of our name that is not exactly as the program creates it. Whoever owns the
// function decides what runs in every INSERT, so its owner must be able to do whatever the owner of the table can.
func CheckPadding(s State) error {
	f, t, function := s.Function, s.PadTrigger(), PadFunction(s.Schema)
	switch {
	case f != nil && !f.Trusted:
		return Refuse("function %s belongs to role %s, which is not %s, the owner of table %s; if nobody needs it, let its owner drop it",
			function, quote.Identifier(f.Owner), quote.Identifier(s.Table.Owner), s.QualifiedTable())
	case f != nil && !f.Exact:
		return Refuse("function %s, owned by %s, is not as this program creates it; if nobody needs it: DROP FUNCTION %s CASCADE", function, quote.Identifier(f.Owner), function)
	case t != nil && (f == nil || t.Function != f.OID || !t.Plain || t.Type != triggerRow|triggerBefore|triggerInsert|triggerUpdate):
		return Refuse("trigger %s of table %s is not as this program creates it; if nobody needs it: DROP TRIGGER %s ON %s",
			quote.Identifier(t.Name), s.QualifiedTable(), t.Name, s.QualifiedTable())
	}
	return nil
}

// checkColumn refuses a column in which no space can be added to a key, or in which it does not count or cannot be seen.
func checkColumn(f Fix, s State) error {
	c, column := s.Table.Column(f.Column), quote.Identifier(f.Column)
	switch {
	case c == nil:
		return Refuse("%s has no column %s", s.QualifiedTable(), column)
	case !c.Text:
		return Refuse("column %s of %s is of type %s, and not text or varchar", column, s.QualifiedTable(), c.Type)
	case c.Generated:
		return Refuse("column %s of %s is generated", column, s.QualifiedTable())
	case c.Equates:
		return Refuse("column %s of %s has a nondeterministic collation, in which a space may not count", column, s.QualifiedTable())
	case len(s.Children) > 0:
		return Refuse("other tables inherit from %s, which belongs to %s: %s", s.QualifiedTable(), quote.Identifier(s.Table.Owner), strings.Join(names(s.Children), ", "))
	case s.Table.Hidden:
		return Refuse("row security hides rows of %s from role %s; connect as a superuser, or as an owner to whom it does not apply", s.QualifiedTable(), quote.Identifier(s.Role))
	case s.Keys == nil:
		return fmt.Errorf("role %s may not read table %s, so whether its keys end in a space is not known: connect as its owner, %s%s",
			quote.Identifier(s.Role), s.QualifiedTable(), quote.Identifier(s.Table.Owner), s.OrInherit())
	case s.Keys.Long != nil:
		which := "credential " + string(s.Keys.Long)
		if len(s.Keys.Long) == MaxID { // it may have been cut
			which = fmt.Sprintf(`SELECT ctid, left(id, 40) FROM %s WHERE octet_length(%s) > %d finds it`, s.QualifiedTable(), column, MaxKey)
		}
		return Refuse("column %s of %s holds a key of more than 256 KiB, which nobody's key has: %s", column, s.QualifiedTable(), which)
	}
	return nil
}

// OrInherit returns the remedy, for a message, where the role is a member of the table's owner and does not use its rights; "" elsewhere.
// Such an owner can often not log in.
func (s State) OrInherit() string {
	if !s.Table.Member || s.Table.Mine {
		return ""
	}
	role, owner := quote.Identifier(s.Role), quote.Identifier(s.Table.Owner)
	return fmt.Sprintf("; %s is a member of %s without using its rights: GRANT %s TO %s WITH INHERIT TRUE, or before PostgreSQL 16 ALTER ROLE %s INHERIT", role, owner, owner, role, role)
}

// checkSpaceStays refuses a table in which a key with the space would be refused or lose the space, as far as the catalog shows that.
// The change itself finds out the rest.
func checkSpaceStays(f Fix, s State) error {
	c := s.Table.Column(f.Column)
	for _, k := range s.ForeignKeys {
		// A key that is stored with the space, or will be in the same transaction, shows that the other table has it. One that was stored
		// before a constraint that is not validated shows nothing.
		if k.Relation == s.Table.OID && s.Keys.Bare == 0 && (s.Keys.Spaced == 0 || !k.Validated) {
			return Refuse("foreign key %s allows only keys that another table lists, so one with the space may be refused; drop it: %s", k.ofTable(), k.Definition)
		}
	}
	if places := s.replicaPlaces(); len(places) > 0 {
		return Refuse("session_replication_role is replica for %s, so no trigger would pad the keys stored from there: ALTER … RESET session_replication_role, or take it out of the connection string", strings.Join(places, ", "))
	}
	for _, t := range s.Triggers {
		if t.mayStrip() && t.Type&triggerInsert != 0 && !t.firesOn(c.Number) {
			return Refuse("trigger %s of %s runs after the padding and may take the space away: %s; triggers run in the order of their names: rename it to one that sorts before %s",
				quote.Identifier(t.Name), s.QualifiedTable(), t.Definition, ObjectName)
		}
	}
	return nil
}

// CheckCode refuses to change keys, or a trigger, if that would run another role's code with the rights of the role that is connected.
// SECURITY.md has the rule.
func CheckCode(s State) error {
	for _, k := range s.ForeignKeys {
		if k.Referred == s.Table.OID && k.Follows { // what follows from a change of a key runs with the rights of the role, too
			return Refuse("foreign key %s follows every change of a key in %s; drop it", k.ofTable(), s.QualifiedTable())
		}
	}
	if len(s.Code) == 0 {
		return nil
	}
	role, remedy, found := quote.Identifier(s.Role), "", []string{}
	for _, c := range s.Code {
		found = append(found, c.String())
	}
	if s.Role != s.Table.Owner {
		remedy = ", or connect as " + quote.Identifier(s.Table.Owner)
	}
	return Refuse("in a change to %s, code that another role may have written would run with the rights of %s: %s; drop it, make %s or a superuser its owner%s",
		s.QualifiedTable(), role, strings.Join(found, "; "), role, remedy)
}

// ForeignEventTrigger returns the first event trigger that would run another role's code with a superuser's rights, nil if there is none.
func (s State) ForeignEventTrigger() *EventTrigger {
	return find(s.EventTriggers, func(e EventTrigger) bool { return s.Superuser && !e.Trusted })
}

// Suspects names what may have undone a change to the table, for a message.
func Suspects(s State) string {
	var found []string
	for _, t := range s.Triggers {
		if t.Name != ObjectName && t.fires() {
			found = append(found, "trigger "+quote.Identifier(t.Name))
		}
	}
	for _, r := range s.Rules {
		found = append(found, "rule "+quote.Identifier(r.Name))
	}
	if len(found) == 0 {
		return ""
	}
	return "; what may have undone it: " + strings.Join(found, ", ")
}
