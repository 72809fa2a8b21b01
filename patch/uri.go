package patch

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/jackc/pgx/v5/pgconn"
	"golang.org/x/crypto/x509roots/fallback/bundle"
	"software.sslmate.com/src/go-pkcs12"
)

// Target is one schema of one database.
type Target struct {
	Schema    string
	conn      *pgconn.Config
	preferTLS *tls.Config // ask for TLS and go on without it if the server has none; nil: conn alone decides
}

// String is host:port/database: what may be printed of a connection string.
func (t Target) String() string {
	database := t.conn.Database
	if database == "" {
		database = t.conn.User // what the server makes of it
	}
	port := strconv.Itoa(int(t.conn.Port))
	if strings.HasPrefix(t.conn.Host, "/") {
		return t.conn.Host + ":" + port + "/" + database // a socket's directory, colons and all
	}
	return net.JoinHostPort(t.conn.Host, port) + "/" + database
}

// settings are a connection in libpq's words.
type settings struct {
	host, port, user, password, database string
	sslmode                              string // libpq's, "" for prefer
	verify                               bool   // with prefer and require: the certificate must be the host's
	sslrootcert, sslcert, sslkey         string // files
	sslpassword, identity                string // identity is a PKCS#12 file
	passfile, options, channelBinding    string
}

// parseURI reads a connection string as Prisma does: as a URL of the WHATWG standard, in which `schema` is the schema,
// `host` outranks the host, `sslcert` is the CA, and what is not known is dropped (prisma-engines,
// quaint/src/connector/postgres/url.rs). Only verify-ca and verify-full, of which Prisma knows nothing, are obeyed. No
// error quotes any part of the string: it holds a password, and not always where one expects it.
func parseURI(uri string) (settings, string, error) {
	var s settings
	scheme, rest, ok := strings.Cut(uri, "://")
	if !ok || !strings.EqualFold(scheme, "postgresql") && !strings.EqualFold(scheme, "postgres") {
		return s, "", errors.New("it does not begin with postgresql:// or postgres://")
	}
	if strings.ContainsFunc(uri, func(r rune) bool { return r < ' ' || r == 0x7f }) || !utf8.ValidString(uri) {
		return s, "", errors.New("it holds a control character or is not UTF-8")
	}
	rest, fragment, _ := strings.Cut(rest, "#")
	rest, query, _ := strings.Cut(rest, "?")
	authority, path, slash := strings.Cut(rest, "/")
	parameters := parseQuery(query)
	names := slices.Collect(maps.Keys(parameters))
	if strings.Contains(path+fragment+strings.Join(names, ""), "@") {
		return s, "", errors.New("the password ends early: in it, write / as %2F, ? as %3F and # as %23")
	}
	at := strings.LastIndexByte(authority, '@')
	user, password, _ := strings.Cut(authority[:max(at, 0)], ":")
	s.user, s.password = percentDecode(user), percentDecode(password)
	if s.user == "" {
		return s, "", errors.New("it names no user")
	}
	var err error
	if s.host, s.port, err = splitHostPort(authority[at+1:]); err != nil {
		return s, "", err
	}
	s.database, _, _ = strings.Cut(path, "/")
	if !slash {
		s.database = "postgres"
	}
	for segment := range strings.SplitSeq(strings.ReplaceAll(strings.ToLower(path), "%2e", "."), "/") {
		if segment == "." || segment == ".." {
			return s, "", errors.New("its path holds a dot segment where the database's name belongs")
		}
	}
	return s.withParameters(parameters)
}

// withParameters adds what stands behind the question mark, and returns the schema apart.
func (s settings) withParameters(parameters map[string]string) (settings, string, error) {
	schema, said := parameters["schema"]
	if !said {
		schema = "public"
	} else if schema == "" {
		return s, "", errors.New("its schema is empty: write ?schema=public or leave it out")
	}
	if host := parameters["host"]; host != "" {
		s.host = host
	}
	s.options = parameters["options"]
	if binding := parameters["channel_binding"]; binding == "disable" || binding == "require" {
		s.channelBinding = binding
	}
	switch mode := parameters["sslmode"]; mode {
	case "disable", "require", "verify-ca", "verify-full":
		s.sslmode = mode
	}
	accept, said := parameters["sslaccept"]
	s.verify = said && accept != "accept_invalid_certs"
	if s.verify || strings.HasPrefix(s.sslmode, "verify") {
		s.sslrootcert = parameters["sslcert"]
		if s.sslrootcert == "" {
			s.sslrootcert = parameters["sslrootcert"]
		}
	}
	s.identity, s.sslpassword = parameters["sslidentity"], parameters["sslpassword"]
	return s, schema, nil
}

// splitHostPort takes a URL's host apart, which may be an IPv6 address in brackets.
func splitHostPort(authority string) (host, port string, err error) {
	host, port = authority, "5432"
	if colon := strings.LastIndexByte(authority, ':'); colon > strings.LastIndexByte(authority, ']') {
		host = authority[:colon]
		if p := authority[colon+1:]; p != "" {
			port = p
		}
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 || port[0] == '+' {
		return "", "", errors.New("its port is no number from 1 to 65535; if that is the password, write / in it as %2F, ? as %3F and # as %23")
	}
	if inner, ok := strings.CutPrefix(host, "["); ok {
		inner, ok = strings.CutSuffix(inner, "]")
		if a, err := netip.ParseAddr(inner); !ok || err != nil || !a.Is6() || a.Zone() != "" {
			return "", "", errors.New("its host is no IPv6 address")
		}
		return inner, port, nil
	}
	if host == "" {
		return "", "", errors.New("it names no host; for a socket write @localhost/database?host=/directory")
	}
	if strings.ContainsFunc(host, func(r rune) bool { return r > '~' || strings.ContainsRune(" :<>[\\]^|", r) }) {
		return "", "", errors.New("its host holds a character that no host name has")
	}
	return host, port, nil
}

// parseQuery reads the form encoding of the WHATWG standard; of a repeated name the last value counts.
func parseQuery(query string) map[string]string {
	parameters := map[string]string{}
	for pair := range strings.SplitSeq(query, "&") {
		name, value, _ := strings.Cut(strings.ReplaceAll(pair, "+", " "), "=")
		parameters[percentDecode(name)] = strings.ToValidUTF8(percentDecode(value), "\uFFFD")
	}
	return parameters
}

// percentDecode leaves a % that introduces no byte as it is, as the WHATWG standard wants it and net/url refuses to.
func percentDecode(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			if decoded, err := hex.DecodeString(s[i+1 : i+3]); err == nil {
				b.Write(decoded)
				i += 2
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// libpqSettings reads libpq's variables, for those who have no connection string.
func libpqSettings(environ map[string]string) (settings, error) {
	s := settings{
		host: environ["PGHOST"], port: environ["PGPORT"], user: environ["PGUSER"], password: environ["PGPASSWORD"],
		database: environ["PGDATABASE"], passfile: environ["PGPASSFILE"], options: environ["PGOPTIONS"],
		sslmode: environ["PGSSLMODE"], sslrootcert: environ["PGSSLROOTCERT"], sslcert: environ["PGSSLCERT"],
		sslkey: environ["PGSSLKEY"], sslpassword: environ["PGSSLPASSWORD"], channelBinding: environ["PGCHANNELBINDING"],
	}
	if s.user == "" {
		return s, &ConfigError{"PGUSER", "is not set or empty; PGHOST is set, and connecting takes both"}
	}
	for port := range strings.SplitSeq(s.port, ",") { // one for each host
		if n, err := strconv.ParseUint(port, 10, 16); s.port != "" && (err != nil || n == 0) {
			return s, &ConfigError{"PGPORT", "is no number from 1 to 65535"}
		}
	}
	for _, choice := range []struct {
		variable, value string
		words           []string
	}{
		{"PGSSLMODE", s.sslmode, []string{"disable", "allow", "prefer", "require", "verify-ca", "verify-full"}},
		{"PGCHANNELBINDING", s.channelBinding, []string{"disable", "prefer", "require"}},
	} {
		if choice.value != "" && !slices.Contains(choice.words, choice.value) {
			return s, &ConfigError{choice.variable, "is not one of " + list(choice.words)}
		}
	}
	if s.sslmode == "prefer" || s.sslmode == "allow" {
		s.sslmode = ""
	}
	return s, nil
}

// target makes of the settings what pgconn connects with.
func (s settings) target(schema string) (Target, error) {
	for _, word := range []string{s.host, s.user, s.password, s.database, s.options, schema} {
		if strings.ContainsRune(word, 0) || !utf8.ValidString(word) {
			return Target{}, errors.New("it holds a NUL or is not UTF-8, which PostgreSQL cannot store")
		}
	}
	prefer := s.sslmode == ""
	if prefer {
		s.sslmode = "require"
	}
	if s.verify && s.sslmode == "require" {
		s.sslmode = "verify-full"
	}
	var words strings.Builder
	for _, w := range [][2]string{
		{"host", s.host},
		{"port", s.port},
		{"user", s.user},
		{"dbname", s.database},
		{"sslmode", s.sslmode},
		{"sslrootcert", s.sslrootcert},
		{"sslcert", s.sslcert},
		{"sslkey", s.sslkey},
		{"sslpassword", s.sslpassword},
		{"passfile", s.passfile},
		{"channel_binding", s.channelBinding},
	} {
		fmt.Fprintf(&words, "%s='%s' ", w[0], strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(w[1]))
	}
	conn, err := pgconn.ParseConfig(words.String())
	if err != nil {
		if cause := errors.Unwrap(err); cause != nil {
			return Target{}, cause // without the string, which pgconn quotes
		}
		return Target{}, errors.New("host, port or sslmode is not valid")
	}
	if s.password != "" {
		conn.Password = s.password
	}
	conn.RuntimeParams = map[string]string{"application_name": "evolution-openai-patch", "client_encoding": "UTF8"}
	if s.options != "" {
		conn.RuntimeParams["options"] = s.options
	}
	if s.sslrootcert == "" && strings.HasPrefix(s.sslmode, "verify") {
		if err := useRoots(conn); err != nil {
			return Target{}, err
		}
	}
	if s.identity != "" && conn.TLSConfig != nil {
		if err := useIdentity(conn.TLSConfig, s.identity, s.sslpassword); err != nil {
			return Target{}, fmt.Errorf("sslidentity: %w", err)
		}
	}
	t := Target{Schema: schema, conn: conn}
	if prefer {
		t.preferTLS, conn.TLSConfig = conn.TLSConfig, nil
		for _, f := range conn.Fallbacks {
			f.TLSConfig = nil
		}
		conn.AfterNetConnect = t.askForTLS
	}
	return t, nil
}

// useRoots trusts the machine's CAs or, in an image that has none, those of Mozilla that are compiled in. Only here, as
// reading them takes longer than all the rest of the program.
func useRoots(conn *pgconn.Config) error {
	roots, err := x509.SystemCertPool()
	if err != nil || roots.Equal(x509.NewCertPool()) {
		roots = x509.NewCertPool()
		for root := range bundle.Roots() {
			certificate, err := x509.ParseCertificate(root.Certificate)
			if err != nil {
				return err
			}
			if root.Constraint == nil {
				roots.AddCert(certificate)
			} else {
				roots.AddCertWithConstraint(certificate, root.Constraint)
			}
		}
	}
	if conn.TLSConfig != nil { // no socket
		conn.TLSConfig.RootCAs = roots
	}
	for _, f := range conn.Fallbacks {
		f.TLSConfig.RootCAs = roots
	}
	return nil
}

// useIdentity adds the client certificate of a PKCS#12 file.
func useIdentity(c *tls.Config, file, password string) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	key, leaf, chain, err := pkcs12.DecodeChain(data, password)
	if err != nil {
		return err
	}
	certificate := tls.Certificate{PrivateKey: key, Leaf: leaf, Certificate: [][]byte{leaf.Raw}}
	for _, c := range chain {
		certificate.Certificate = append(certificate.Certificate, c.Raw)
	}
	c.Certificates = []tls.Certificate{certificate}
	return nil
}
