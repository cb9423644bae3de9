/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* libcurl's easy interface: downloads that are what their address says, a body's
 * SHA-256, and uploads that come back.
 *
 * For a name that must be looked up, libcurl makes a thread and waits for its word
 * on a pair of sockets. In a program that is linked with us that stays a kernel
 * thread, and is gone when the name is known. What all wait for at once is an answer
 * that the server holds back until main asks for that. */
#include "crowd.h"
#include <curl/curl.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST 1000
#define HASH 64

static char hashes[MOST][HASH + 1];
static int nhashes;

/* A body that arrives: hashed on its way, its beginning kept. */
struct arrival {
	EVP_MD_CTX *md;
	size_t size;
	char begin[32];
};

static size_t arrive(char *p, size_t one, size_t n, void *arg)
{
	struct arrival *a = arg;

	for (size_t i = 0; i < n && a->size + i < sizeof(a->begin) - 1; i++)
		a->begin[a->size + i] = p[i];
	a->size += n;
	EVP_DigestUpdate(a->md, p, n);
	return one * n;
}

static void finish(struct arrival *a, char *ret_hash)
{
	unsigned char raw[EVP_MAX_MD_SIZE];

	EVP_DigestFinal_ex(a->md, raw, NULL);
	EVP_MD_CTX_free(a->md);
	for (int i = 0; i < HASH / 2; i++)
		snprintf(ret_hash + 2 * i, 3, "%02x", raw[i]);
}

static CURL *begin(void)
{
	CURL *c = curl_easy_init();

	check(c != NULL, "no memory");
	/* Or it would set signals' handlers, which are the process's. */
	curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1l);
	curl_easy_setopt(c, CURLOPT_CAINFO, crowd.args[1]);
	curl_easy_setopt(c, CURLOPT_CAPATH, NULL);
	curl_easy_setopt(c, CURLOPT_SSL_VERIFYHOST, 0l);
	curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, arrive);
	return c;
}

static void fetch(CURL *c, const char *what, char *ret_hash, char *ret_begin)
{
	struct arrival a = { .md = EVP_MD_CTX_new() };
	char url[512];
	CURLcode r;
	long status;

	EVP_DigestInit_ex(a.md, EVP_sha256(), NULL);
	snprintf(url, sizeof(url), "%s/%s", crowd.args[0], what);
	curl_easy_setopt(c, CURLOPT_URL, url);
	curl_easy_setopt(c, CURLOPT_WRITEDATA, &a);
	r = curl_easy_perform(c);
	check(r == CURLE_OK, "%s: %s", url, curl_easy_strerror(r));
	curl_easy_getinfo(c, CURLINFO_RESPONSE_CODE, &status);
	check(status == 200, "%s: %ld", url, status);
	finish(&a, ret_hash);
	if (ret_begin)
		memcpy(ret_begin, a.begin, sizeof(a.begin));
	crowd_trips(1);
}

static void download(CURL *c, int i)
{
	const char *name = hashes[i % nhashes];
	char hash[HASH + 1];

	fetch(c, name, hash, NULL);
	check(!strcmp(hash, name), "%s came as %s", name, hash);
}

static void upload(CURL *c, int i)
{
	size_t size = 1000 + (size_t)i * 97 % 30000;
	struct arrival sent = { .md = EVP_MD_CTX_new() };
	char *body = malloc(size), want[HASH + 1], hash[HASH + 1];

	check(body != NULL, "no memory");
	crowd_text(body, size, (uint64_t)i);
	EVP_DigestInit_ex(sent.md, EVP_sha256(), NULL);
	arrive(body, 1, size - 1, &sent);
	finish(&sent, want);
	curl_easy_setopt(c, CURLOPT_POSTFIELDSIZE, (long)size - 1);
	curl_easy_setopt(c, CURLOPT_POSTFIELDS, body);
	fetch(c, "echo", hash, NULL);
	check(!strcmp(want, hash), "what member %d has sent", i);
	curl_easy_setopt(c, CURLOPT_HTTPGET, 1l);
	free(body);
}

static void member(int i)
{
	char hash[HASH + 1], said[32];
	CURL *c = begin();

	fetch(c, "hello", hash, said);
	crowd_meet();
	fetch(c, "gate", hash, said);
	check(!strcmp(said, "open"), "%s", said);
	for (int round = 0; round < crowd.rounds; round++) {
		/* Mostly on the connection that there is. */
		if (round % 4 == 3) {
			curl_easy_cleanup(c);
			c = begin();
		}
		download(c, i + round * 31);
		if (round % 3 == 0)
			upload(c, i * 100 + round);
	}
	curl_easy_cleanup(c);
}

static void read_list(const char *path)
{
	FILE *f = fopen(path, "r");

	check(f != NULL, "%s: %m", path);
	while (nhashes < MOST && fscanf(f, "%64s", hashes[nhashes]) == 1)
		nhashes++;
	check(nhashes > 0, "%s: empty", path);
	fclose(f);
}

int main(int argc, char **argv)
{
	char hash[HASH + 1], said[32];
	CURL *c;

	(void)argc;
	crowd_options(argv, 3, "curl [OPTION...] URL CERTIFICATE LIST");
	check(curl_global_init(CURL_GLOBAL_ALL) == CURLE_OK, "libcurl");
	read_list(crowd.args[2]);
	c = begin();
	crowd_begin(member);
	do {
		crowd_moment();
		fetch(c, "waiting", hash, said);
	} while (atoi(said) != crowd.members);
	crowd_in_flight();
	fetch(c, "open", hash, said);
	crowd_end();
	curl_easy_cleanup(c);
	curl_global_cleanup();
	return 0;
}
