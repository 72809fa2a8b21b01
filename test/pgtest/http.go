package pgtest

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
)

// EvolutionKey is the AUTHENTICATION_API_KEY of the servers that NewEvolutionServer starts.
const EvolutionKey = "key-of-the-gateway"

// An EvolutionServer answers the requests of Evolution API that concern credentials, over a real database: POST
// /instance/create, POST and GET /openai/creds/{instance}, GET /openai/getModels/{instance} and GET /.
type EvolutionServer struct {
	URL     string
	Version string // the release, 2.3.7 if nobody sets another
	Key     string // what it requires in the header apikey; "": anything
	OpenAI  string // the host and port that getModels asks

	// Sends returns the key that getModels sends for the one that is stored; nil: the same.
	Sends func(stored string) string

	d    *Database
	lock sync.Mutex // one connection to the database
}

// NewEvolutionServer starts a server over the database, whose getModels asks the server at the address openai.
func NewEvolutionServer(t testing.TB, d *Database, openai string) *EvolutionServer {
	s := &EvolutionServer{d: d, Version: "2.3.7", Key: EvolutionKey, OpenAI: openai}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", s.root)
	mux.HandleFunc("POST /instance/create", s.authorized(s.createInstance))
	mux.HandleFunc("POST /openai/creds/{instance}", s.authorized(s.createCredential))
	mux.HandleFunc("GET /openai/creds/{instance}", s.authorized(s.listCredentials))
	mux.HandleFunc("GET /openai/getModels/{instance}", s.authorized(s.listModels))
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	s.URL = server.URL
	return s
}

// answer writes an answer in Evolution's form: errors have their message in response.message.
func answer(w http.ResponseWriter, status int, body any) {
	if message, ok := body.(string); ok {
		var said any = message
		if status == http.StatusBadRequest {
			said = []string{message}
		}
		body = map[string]any{"status": status, "error": http.StatusText(status), "response": map[string]any{"message": said}}
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}

// authorized requires the header apikey, and lets one request at a time use the database.
func (s *EvolutionServer) authorized(handle http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if s.Key != "" && r.Header.Get("apikey") != s.Key {
			answer(w, http.StatusUnauthorized, "Unauthorized")
			return
		}
		s.lock.Lock()
		defer s.lock.Unlock()
		handle(w, r)
	}
}

func (s *EvolutionServer) root(w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusOK, map[string]any{"status": 200, "message": "Welcome to the Evolution API, it is working!", "version": s.Version})
}

func (s *EvolutionServer) createInstance(w http.ResponseWriter, r *http.Request) {
	var body struct{ InstanceName string }
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil || body.InstanceName == "" {
		answer(w, http.StatusBadRequest, "instance requires property \"instanceName\"")
		return
	}
	id := "instance-" + body.InstanceName
	s.d.Exec(`INSERT INTO "Instance"(id, name) VALUES ($1, $2)`, id, body.InstanceName)
	answer(w, http.StatusCreated, map[string]any{"instance": map[string]any{"instanceName": body.InstanceName, "instanceId": id}})
}

// instance returns the id of the instance that a path names.
func (s *EvolutionServer) instance(r *http.Request) string {
	return s.d.Text(`SELECT coalesce((SELECT id FROM "Instance" WHERE name = $1), '')`, r.PathValue("instance"))
}

func (s *EvolutionServer) createCredential(w http.ResponseWriter, r *http.Request) {
	var body struct{ Name, APIKey string }
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil || body.Name == "" || body.APIKey == "" {
		answer(w, http.StatusBadRequest, "API Key is required")
		return
	}
	switch s.d.Register(s.Version, s.instance(r), body.Name, body.APIKey) {
	case http.StatusBadRequest:
		answer(w, http.StatusBadRequest, "This API key is already registered. Please use a different API key.")
	case http.StatusInternalServerError:
		answer(w, http.StatusInternalServerError, "Error creating openai creds")
	default:
		answer(w, http.StatusCreated, json.RawMessage(s.d.Text(`SELECT to_json(c) FROM "OpenaiCreds" c WHERE "instanceId" = $1 AND name = $2`, s.instance(r), body.Name)))
	}
}

func (s *EvolutionServer) listCredentials(w http.ResponseWriter, r *http.Request) {
	answer(w, http.StatusOK, json.RawMessage(s.d.Text(`SELECT coalesce(json_agg(c), '[]') FROM "OpenaiCreds" c WHERE "instanceId" = $1`, s.instance(r))))
}

// listModels asks OpenAI with the stored key, and sends it as it is stored, which Go's own client does not.
func (s *EvolutionServer) listModels(w http.ResponseWriter, r *http.Request) {
	key := s.d.Text(`SELECT coalesce((SELECT "apiKey" FROM "OpenaiCreds" WHERE id = $1 AND "instanceId" = $2), '')`, r.URL.Query().Get("openaiCredsId"), s.instance(r))
	sent := key
	if s.Sends != nil {
		sent = s.Sends(key)
	}
	models, err := s.askModels(sent)
	if key == "" || err != nil {
		answer(w, http.StatusInternalServerError, "Error fetching models")
		return
	}
	answer(w, http.StatusOK, models)
}

func (s *EvolutionServer) askModels(key string) (json.RawMessage, error) {
	c, err := net.Dial("tcp", s.OpenAI)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	fmt.Fprintf(c, "GET /v1/models HTTP/1.1\r\nHost: openai\r\nAuthorization: Bearer %s\r\nConnection: close\r\n\r\n", key)
	response, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("OpenAI answers %s", response.Status)
	}
	var list struct{ Data json.RawMessage }
	if err == nil {
		err = json.Unmarshal(content, &list)
	}
	return list.Data, err
}

// NewOpenAI starts a server that answers GET /v1/models as OpenAI does to this key, and returns its address. It calls got
// with each Authorization that it receives.
func NewOpenAI(t testing.TB, key string, got func(authorization string)) (address string) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got(r.Header.Get("Authorization"))
		if r.Header.Get("Authorization") != "Bearer "+key {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		_, _ = io.WriteString(w, `{"object":"list","data":[{"id":"gpt-4o-mini","object":"model"}]}`)
	}))
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}
