// The benchmark's endpoints in Go's net/http, validated by hand.
package main

import (
	"encoding/json"
	"log"
	"net/http"
	"os"
	"strconv"
	"unicode/utf8"
)

type item struct {
	Name        *string  `json:"name"`
	Price       *float64 `json:"price"`
	Tax         *float64 `json:"tax"`
	Description *string  `json:"description"`
	Tags        []string `json:"tags"`
}

type itemAnswer struct {
	ItemID int     `json:"item_id"`
	Q      *string `json:"q"`
	Limit  int     `json:"limit"`
}

func answer(w http.ResponseWriter, status int, value any) {
	body, err := json.Marshal(value)
	if err != nil {
		http.Error(w, "Internal Server Error", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	w.Write(body)
}

func refuse(w http.ResponseWriter, detail string) {
	answer(w, http.StatusUnprocessableEntity, map[string]string{"detail": detail})
}

func root(w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusOK, map[string]string{"message": "Hello World"})
}

func readItem(w http.ResponseWriter, r *http.Request) {
	id, err := strconv.Atoi(r.PathValue("item_id"))
	if err != nil || id < 1 {
		refuse(w, "item_id must be an integer of 1 or more")
		return
	}
	query := r.URL.Query()
	limit := 10
	if text := query.Get("limit"); text != "" {
		if limit, err = strconv.Atoi(text); err != nil || limit > 100 {
			refuse(w, "limit must be an integer up to 100")
			return
		}
	}
	result := itemAnswer{ItemID: id, Limit: limit}
	if query.Has("q") {
		q := query.Get("q")
		result.Q = &q
	}
	answer(w, http.StatusOK, result)
}

func createItem(w http.ResponseWriter, r *http.Request) {
	created := item{Tags: []string{}}
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20)).Decode(&created); err != nil {
		refuse(w, err.Error())
		return
	}
	switch {
	case created.Name == nil || *created.Name == "" || utf8.RuneCountInString(*created.Name) > 50:
		refuse(w, "name must have 1 to 50 characters")
	case created.Price == nil || *created.Price <= 0:
		refuse(w, "price must be a number above 0")
	default:
		answer(w, http.StatusOK, created)
	}
}

func main() {
	http.HandleFunc("GET /{$}", root)
	http.HandleFunc("GET /items/{item_id}", readItem)
	http.HandleFunc("POST /items", createItem)
	log.Fatal(http.ListenAndServe("127.0.0.1:"+os.Args[1], nil))
}
