package plan

import (
	"fmt"
	"strings"

	"evolution-openai-patch/patch/quote"
)

// ObjectName is the name of the padding trigger and of its function.
const ObjectName = "evolution_openai_patch"

// PadBody is the body of the function. It must never fail a statement of Evolution's, whatever later migrations make of
// the column: therefore the trigger has no column list, and the function ignores every error.
const PadBody = `BEGIN NEW."apiKey" := rtrim(NEW."apiKey", ' ') || ' '; RETURN NEW; EXCEPTION WHEN OTHERS THEN RETURN NEW; END`

// PadSettings is the function's only setting, as in pg_proc.proconfig.
const PadSettings = "search_path=pg_catalog, pg_temp"

// PadFunction returns the name of the function as it stands in statements.
func PadFunction(schema string) string { return quote.Qualified(schema, ObjectName) + "()" }

// CreatePadFunction and CreatePadTrigger return the statements that create the padding.
func CreatePadFunction(schema string) string {
	return fmt.Sprintf("CREATE FUNCTION %s RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS %s", PadFunction(schema), quote.Literal(PadBody))
}

func CreatePadTrigger(schema string) string {
	return fmt.Sprintf("CREATE TRIGGER %s BEFORE INSERT OR UPDATE ON %s FOR EACH ROW EXECUTE FUNCTION %s", ObjectName, quote.Qualified(schema, TableName), PadFunction(schema))
}

// padding plans to store every key with exactly one space at its end, now and in future, or to revert that.
func (p *Plan) padding(f Fix, r Request, s State) error {
	if err := CheckPadding(s); err != nil {
		return err
	}
	trigger := s.PadTrigger()
	p.Found[f.Name] = "no padding trigger"
	if trigger != nil {
		p.Found[f.Name] = trigger.Definition
	}
	if r.Goal == Revert && !s.isPadded() {
		return nil
	}
	if err := checkColumn(f, s); err != nil {
		return err
	}
	if s.Keys.Bare > 0 {
		p.Found[f.Name] += fmt.Sprintf("; keys without the space: %d", s.Keys.Bare)
	}
	if r.Goal == Revert {
		return p.unpad(f, s)
	}
	p.pad(f, s)
	return checkSpaceStays(f, s)
}

// pad creates the function and the trigger where they are missing, and stores the keys with the space. The trigger exists before the
// keys change, so that the change shows whether the space stays; but if its function belongs to another role, which could replace it
// meanwhile, it comes after them.
func (p *Plan) pad(f Fix, s State) {
	before, trigger, function, column := len(p.SQL), s.PadTrigger(), PadFunction(s.Schema), quote.Identifier(f.Column)
	foreign := s.Function != nil && s.Function.Owner != s.Role
	if s.Function == nil {
		p.add("%s", CreatePadFunction(s.Schema))
		p.add("REVOKE ALL ON FUNCTION %s FROM %s", function, s.grantees())
	}
	drop := trigger != nil && (!trigger.fires() || foreign && s.Keys.Bare > 0)
	if drop { // before rows change, because its function is its owner's to replace
		p.add("DROP TRIGGER %s ON %s", ObjectName, s.QualifiedTable())
	}
	create := drop || trigger == nil
	if create {
		p.say("created the padding trigger")
	}
	if create && !foreign {
		p.add("%s", CreatePadTrigger(s.Schema))
	}
	if s.Keys.Bare > 0 {
		p.add("UPDATE ONLY %s SET %s = rtrim(%s, ' ') || ' ' WHERE %s", s.QualifiedTable(), column, column, s.Table.Paddable())
		p.Rows += s.Keys.Bare
		p.say("padded keys: %d", s.Keys.Bare)
	}
	if create && foreign {
		p.add("%s", CreatePadTrigger(s.Schema))
	}
	if s.Function == nil && s.Role != s.Table.Owner { // so that the owner can drop it
		p.add("ALTER FUNCTION %s OWNER TO %s", function, quote.Identifier(s.Table.Owner))
	}
	p.Pads = len(p.SQL) > before
}

// unpad drops the trigger, if it is there, and the function, and removes the spaces. How many a key ended in before the padding, only
// a backup that was taken then knows.
func (p *Plan) unpad(f Fix, s State) error {
	table, column := s.QualifiedTable(), quote.Identifier(f.Column)
	if s.PadTrigger() != nil {
		p.add("DROP TRIGGER %s ON %s", ObjectName, table)
	}
	if len(s.Function.Users) > 0 {
		return Refuse("function %s is used by others: %s; drop them first", PadFunction(s.Schema), strings.Join(s.Function.Users, ", "))
	}
	p.add("DROP FUNCTION %s", PadFunction(s.Schema))
	p.say("dropped the padding trigger")
	p.Pads = true
	if s.Keys.Spaced > 0 {
		p.add("UPDATE ONLY %s SET %s = rtrim(%s, ' ') WHERE %s LIKE '%% '", table, column, column, column)
		p.Rows += s.Keys.Spaced
		p.say("removed the space from keys: %d", s.Keys.Spaced)
	}
	return nil
}

// grantees lists who has rights on a new object of the role, by PostgreSQL's defaults and by default privileges.
func (s State) grantees() string {
	if len(s.Grantees) == 0 {
		return "PUBLIC"
	}
	return "PUBLIC, " + quote.Identifiers(names(s.Grantees))
}

// MaxKey is the longest key that is read, in bytes. No real key comes near it, and a run has little memory.
const MaxKey = 256 << 10

// MaxID is the longest id or name of a row that is printed, in bytes. An id of this length may have been cut.
const MaxID = 100

// Conditions for a key that the padding changes, and for one that ends in a space.
const (
	BareKey   = `"apiKey" <> rtrim("apiKey", ' ') || ' '`
	SpacedKey = `"apiKey" LIKE '% '`
)

// Paddable returns the condition for a key that the padding changes and that has room for the space.
func (t *Relation) Paddable() string {
	if limit := t.Column(KeyColumn).Limit; limit > 0 {
		return fmt.Sprintf(`%s AND length(rtrim("apiKey", ' ')) < %d`, BareKey, limit)
	}
	return BareKey
}
