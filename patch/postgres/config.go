package postgres

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/jackc/pgx/v5/pgconn"
)

// Config describes a connection in the words of libpq. Empty fields take libpq's defaults.
type Config struct {
	Host, Port, User, Password, Database string

	SSLMode          string // as ParseSSLMode returns it; empty means prefer
	VerifyServer     bool   // the certificate must be valid for Host, so that TLS is required; not with SSLMode disable
	SystemRoots      bool   // libpq's sslrootcert=system: as SSLMode verify-full, which no other may replace, with the system's CAs
	RootCertificates string // file with the trusted CAs
	Certificate, Key string // files of the client's identity
	Identity         string // the same as one PKCS#12 file
	KeyPassword      string // of Key or Identity
	PasswordFile     string
	Options          string // command-line options for the server
	ChannelBinding   string // disable, prefer or require
	ApplicationName  string
}

// ParseSSLMode returns the mode for a word in any case: one of libpq's, or no-verify, which is what other programs call require.
// The error lists the words that there are.
func ParseSSLMode(word string) (mode string, err error) {
	modes := []string{"disable", "allow", "prefer", "require", "no-verify", "verify-ca", "verify-full"}
	if mode = strings.ToLower(word); !slices.Contains(modes, mode) {
		return "", errors.New("is not one of " + strings.Join(modes, ", "))
	}
	return mode, nil
}

// Target is a database that can be connected to.
type Target struct {
	conn      *pgconn.Config
	asksTLS   bool
	preferTLS *tls.Config // ask for TLS and go on without it if the server has none; nil: conn alone decides
	server    *server
}

// SettingError reports a field of a Config that cannot be used.
type SettingError struct {
	Keyword string // libpq's name for the field
	problem string // never quotes the value
}

func (e *SettingError) Error() string { return e.problem }

// NewTarget checks the texts of c, and the files that it names, and reads these. No error quotes a value of c.
func NewTarget(c Config) (Target, error) {
	for _, text := range [][2]string{{"host", c.Host}, {"user", c.User}, {"password", c.Password}, {"database", c.Database}, {"options", c.Options}} {
		if strings.ContainsRune(text[1], 0) || !utf8.ValidString(text[1]) {
			return Target{}, &SettingError{text[0], "it holds a NUL or is not UTF-8, which PostgreSQL cannot store"}
		}
	}
	for _, f := range []struct{ keyword, what, file string }{
		{"sslrootcert", "CA certificate", c.RootCertificates},
		{"sslcert", "client certificate", c.Certificate},
		{"sslkey", "client key", c.Key},
		{"sslidentity", "client identity", c.Identity},
		{"passfile", "password", c.passwordFile()},
	} {
		if err := checkFile(f.file); err != nil {
			return Target{}, &SettingError{f.keyword, fmt.Sprintf("the file with the %s cannot be read: %v", f.what, err)}
		}
	}
	if c.SystemRoots {
		c.SSLMode, c.RootCertificates = cmp.Or(c.SSLMode, "verify-full"), ""
		if c.effectiveSSLMode() != "verify-full" {
			return Target{}, &SettingError{"sslmode", "sslrootcert=system goes only with sslmode=verify-full: write that, or leave sslmode out"}
		}
	}
	conn, err := pgconn.ParseConfig(c.keywords())
	if err != nil {
		if cause := errors.Unwrap(err); cause != nil {
			return Target{}, cause // without the string, which pgconn quotes
		}
		return Target{}, errors.New("host, port or sslmode is not valid")
	}
	if c.Password != "" {
		conn.Password = c.Password
	}
	conn.RuntimeParams = map[string]string{"application_name": c.ApplicationName, "client_encoding": "UTF8"}
	if c.Options != "" {
		conn.RuntimeParams["options"] = c.Options
	}
	if c.RootCertificates == "" && strings.HasPrefix(c.effectiveSSLMode(), "verify") {
		if err := useSystemRoots(conn); err != nil {
			return Target{}, err
		}
	}
	if c.Identity != "" && conn.TLSConfig != nil {
		if err := useIdentity(conn.TLSConfig, c.Identity, c.KeyPassword); err != nil {
			return Target{}, fmt.Errorf("the file with the client identity cannot be used: %w", err)
		}
	}
	conn.MaxProtocolMessageBodyLen = maxMessage
	conn.LookupFunc = resolver(net.DefaultResolver.LookupNetIP).lookUp
	t := Target{conn: conn, asksTLS: c.effectiveSSLMode() != "disable", server: new(server)}
	if c.prefersTLS() {
		t.preferTLS, conn.TLSConfig = conn.TLSConfig, nil
		for _, f := range conn.Fallbacks {
			t.preferTLS, f.TLSConfig = cmp.Or(t.preferTLS, f.TLSConfig), nil // the first host may be a socket
		}
	}
	return t, nil
}

// prefersTLS reports whether the server decides whether there is TLS. A check of the certificate would be worth nothing then:
// whoever can answer in the server's place could answer that it has no TLS.
func (c Config) prefersTLS() bool {
	return !c.VerifyServer && (c.SSLMode == "" || c.SSLMode == "allow" || c.SSLMode == "prefer")
}

// effectiveSSLMode is the mode that pgconn is given; prefer is negotiated by Target itself.
func (c Config) effectiveSSLMode() string {
	switch {
	case c.SSLMode == "disable" || strings.HasPrefix(c.SSLMode, "verify"):
		return c.SSLMode
	case c.VerifyServer:
		return "verify-full"
	}
	return "require"
}

// passwordFile returns the file to look for the password in, "" if there is one already.
func (c Config) passwordFile() string {
	if c.Password != "" {
		return ""
	}
	return c.PasswordFile
}

// keywords returns c as a connection string of keywords and values, without the password, which pgconn would quote in
// its errors.
func (c Config) keywords() string {
	var b strings.Builder
	for _, k := range [][2]string{
		{"host", c.Host},
		{"port", c.Port},
		{"user", c.User},
		{"dbname", c.Database},
		{"sslmode", c.effectiveSSLMode()},
		{"sslrootcert", c.RootCertificates},
		{"sslcert", c.Certificate},
		{"sslkey", c.Key},
		{"sslpassword", c.KeyPassword},
		{"passfile", c.passwordFile()},
		{"channel_binding", c.ChannelBinding},
	} {
		fmt.Fprintf(&b, "%s='%s' ", k[0], strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(k[1]))
	}
	return b.String()
}

// WithDatabase returns the target of another database of the same server.
func (t Target) WithDatabase(name string) Target {
	t.conn = t.conn.Copy()
	t.conn.Database = name
	return t
}

// Database returns the name of the database. Without one, the server takes that of the user.
func (t Target) Database() string {
	if t.conn.Database == "" {
		return t.conn.User
	}
	return t.conn.Database
}

// User returns the name of the role that connects.
func (t Target) User() string { return t.conn.User }

// Server returns host:port, or directory:port for a Unix-domain socket.
func (t Target) Server() string {
	port := strconv.Itoa(int(t.conn.Port))
	if strings.HasPrefix(t.conn.Host, "/") {
		return t.conn.Host + ":" + port
	}
	return net.JoinHostPort(t.conn.Host, port)
}

// String returns host:port/database, which is all of a connection string that may be printed.
func (t Target) String() string { return t.Server() + "/" + t.Database() }
