package httpapi

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// cors adds the headers that let browsers on allowed origins read the answer. It reports whether the
// request was a preflight, which it has answered.
func (s *Server) cors(w http.ResponseWriter, r *http.Request) bool {
	rules := s.config.Settings.Security.CORS
	origin := r.Header.Get("Origin")
	if origin == "" || len(rules.AllowedOrigins) == 0 {
		return false
	}
	header := w.Header()
	header.Add("Vary", "Origin")
	preflight := r.Method == http.MethodOptions && r.Header.Get("Access-Control-Request-Method") != ""
	everyone := slices.Contains(rules.AllowedOrigins, "*")
	if !everyone && !slices.Contains(rules.AllowedOrigins, origin) {
		if preflight {
			w.WriteHeader(http.StatusNoContent)
		}
		return preflight
	}
	if everyone {
		origin = "*"
	}
	header.Set("Access-Control-Allow-Origin", origin)
	if rules.AllowCredentials && !everyone {
		header.Set("Access-Control-Allow-Credentials", "true")
	}
	if len(rules.ExposeHeaders) > 0 {
		header.Set("Access-Control-Expose-Headers", strings.Join(rules.ExposeHeaders, ", "))
	}
	if !preflight {
		return false
	}
	header.Set("Access-Control-Allow-Methods", strings.Join(rules.AllowedMethods, ", "))
	allowed := strings.Join(rules.AllowedHeaders, ", ")
	if slices.Contains(rules.AllowedHeaders, "*") {
		header.Add("Vary", "Access-Control-Request-Headers")
		allowed = r.Header.Get("Access-Control-Request-Headers")
	}
	header.Set("Access-Control-Allow-Headers", allowed)
	header.Set("Access-Control-Max-Age", strconv.Itoa(rules.MaxAgeSeconds))
	if rules.AllowPrivateNetwork && r.Header.Get("Access-Control-Request-Private-Network") == "true" {
		header.Set("Access-Control-Allow-Private-Network", "true")
	}
	w.WriteHeader(http.StatusNoContent)
	return true
}
