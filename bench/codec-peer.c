/*
 * The native libraries that the codec is measured against, driven by bench/codec.ts line by line:
 *
 *   load PATH         the data, 1 MiB
 *   OP SIZE MILLIS    runs OP over the data in blocks of SIZE for about MILLIS; answers "MB/s bytes-out"
 *   streams SIZE PATH writes liblz4's compressed blocks, each behind its length (u32, little-endian)
 *
 * OP: lz4c lz4d xxh3 xtse xtsd; and whole requests of SIZE in blocks of 4,096, unencrypted or with XTS, as
 * docs/internals/codec.md says they are encoded: enc-plain enc-xts dec-plain dec-xts.  cc -O2 codec-peer.c -llz4 -lxxhash -lcrypto
 */
#include <lz4.h>
#include <openssl/evp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <xxhash.h>

#define DATA_BYTES (1 << 20)
#define MAX_BLOCKS (DATA_BYTES / 4096)
#define MAX_BLOCK 65536
#define MAX_REQUEST 131072
#define BLOCK 4096
#define ENTRY 32
#define DATA 1
#define ZERO 2
#define FLAG_LZ4 1
#define FLAG_XTS 2

static unsigned char data[DATA_BYTES];
static char compressed[MAX_BLOCKS][LZ4_COMPRESSBOUND(MAX_BLOCK)];
static int lengths[MAX_BLOCKS];
static unsigned char out[DATA_BYTES];
static volatile uint64_t sink;

/* Processor time, as the other side. */
static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return t.tv_sec + t.tv_nsec * 1e-9;
}

static void fail(const char *what) {
  fprintf(stderr, "codec-peer: %s\n", what);
  exit(1);
}

static void compress_all(int size) {
  for (int i = 0; i < DATA_BYTES / size; i++)
    lengths[i] = LZ4_compress_default((char *)data + i * size, compressed[i], size, sizeof compressed[i]);
}

static EVP_CIPHER_CTX *cipher;

/* Requests, encoded. */
static struct {
  int count;
  size_t stored;
  unsigned char entries[MAX_REQUEST / BLOCK][ENTRY], payload[MAX_REQUEST + BLOCK];
} requests[DATA_BYTES / BLOCK];
static EVP_CIPHER_CTX *sealer, *opener;
static const unsigned char volume[16] = {1, 2, 3};

static void put64(unsigned char *at, uint64_t value) { memcpy(at, &value, 8); }
static void put32(unsigned char *at, uint32_t value) { memcpy(at, &value, 4); }
static uint32_t get32(const unsigned char *at) {
  uint32_t value;
  memcpy(&value, at, 4);
  return value;
}

static int all_zero(const unsigned char *block) {
  for (int i = 0; i < BLOCK; i += 64) {
    uint64_t w[8];
    memcpy(w, block + i, 64);
    if (w[0] | w[1] | w[2] | w[3] | w[4] | w[5] | w[6] | w[7]) return 0;
  }
  return 1;
}

static uint64_t checksum(const unsigned char *entry, const unsigned char *payload, size_t length) {
  unsigned char binding[40];
  memcpy(binding, volume, 16);
  memcpy(binding + 16, entry, 24);
  return XXH3_64bits_withSeed(payload, length, XXH3_64bits(binding, sizeof binding));
}

static void xts(EVP_CIPHER_CTX *context, uint64_t block, unsigned char *bytes, int length) {
  unsigned char tweak[16] = {0};
  int made;
  put64(tweak, block);
  if (!EVP_CipherInit_ex(context, NULL, NULL, NULL, tweak, -1)) fail("tweak");
  if (!EVP_CipherUpdate(context, bytes, &made, bytes, length)) fail("cipher");
}

static void encode(int request, int size, int encrypted) {
  const unsigned char *plain = data + (size_t)request * size;
  uint64_t block = (uint64_t)request * (size / BLOCK);
  unsigned char *payload = requests[request].payload;
  int count = 0;
  for (int i = 0; i < size / BLOCK; i++, plain += BLOCK, block++) {
    unsigned char *entry = requests[request].entries[count++];
    memset(entry, 0, ENTRY);
    put64(entry, block);
    put32(entry + 8, 1);
    if (all_zero(plain)) {
      entry[12] = ZERO;
      continue;
    }
    int length = LZ4_compress_default((const char *)plain, (char *)payload, BLOCK, BLOCK - BLOCK / 8);
    entry[12] = DATA;
    entry[13] = (length > 0 ? FLAG_LZ4 : 0) | (encrypted ? FLAG_XTS : 0);
    if (length <= 0) memcpy(payload, plain, length = BLOCK);
    put32(entry + 16, length);
    if (encrypted) xts(sealer, block, payload, length);
    put64(entry + 24, checksum(entry, payload, length));
    payload += length;
  }
  requests[request].count = count;
  requests[request].stored = payload - requests[request].payload;
}

static void decode(int request, int size, int encrypted) {
  static unsigned char stored[MAX_REQUEST];
  unsigned char *plain = out, *payload = stored;
  /* Decrypted in place: on a copy, as ours has one from the file. */
  memcpy(stored, requests[request].payload, requests[request].stored);
  for (int i = 0; i < requests[request].count; i++, plain += BLOCK) {
    unsigned char *entry = requests[request].entries[i];
    uint64_t sum;
    if (entry[12] == ZERO) {
      memset(plain, 0, BLOCK);
      continue;
    }
    int length = get32(entry + 16);
    memcpy(&sum, entry + 24, 8);
    if (checksum(entry, payload, length) != sum) fail("checksum");
    if (encrypted) xts(opener, (uint64_t)request * (size / BLOCK) + i, payload, length);
    if (!(entry[13] & FLAG_LZ4)) memcpy(plain, payload, BLOCK);
    else if (LZ4_decompress_safe((char *)payload, (char *)plain, length, BLOCK) != BLOCK) fail("decompression");
    payload += length;
  }
}

static void run(const char *op, int size) {
  int blocks = DATA_BYTES / size;
  int encrypted = strstr(op, "-xts") != NULL;
  if (!strncmp(op, "enc-", 4)) {
    for (int i = 0; i < blocks; i++) encode(i, size, encrypted);
  } else if (!strncmp(op, "dec-", 4)) {
    for (int i = 0; i < blocks; i++) decode(i, size, encrypted);
  } else if (!strcmp(op, "lz4c")) {
    compress_all(size);
  } else if (!strcmp(op, "lz4d")) {
    for (int i = 0; i < blocks; i++)
      if (LZ4_decompress_safe(compressed[i], (char *)out + i * size, lengths[i], size) != size) fail("decompression");
  } else if (!strcmp(op, "xxh3")) {
    for (int i = 0; i < blocks; i++) sink += XXH3_64bits_withSeed(data + i * size, size, i + 1);
  } else {
    int made;
    unsigned char tweak[16] = {0};
    for (int i = 0; i < blocks; i++) {
      memcpy(tweak, &i, sizeof i);
      /* The key is expanded once; only the tweak changes. */
      if (!EVP_CipherInit_ex(cipher, NULL, NULL, NULL, tweak, -1)) fail("tweak");
      if (!EVP_CipherUpdate(cipher, out + i * size, &made, data + i * size, size)) fail("cipher");
    }
  }
}

int main(void) {
  char line[4096], op[16], path[4000];
  unsigned char key[64];
  int size, millis;
  for (int i = 0; i < 64; i++) key[i] = i * 7 + 1;
  cipher = EVP_CIPHER_CTX_new();
  sealer = EVP_CIPHER_CTX_new();
  opener = EVP_CIPHER_CTX_new();
  if (!EVP_CipherInit_ex(sealer, EVP_aes_256_xts(), NULL, key, NULL, 1)) fail("key");
  if (!EVP_CipherInit_ex(opener, EVP_aes_256_xts(), NULL, key, NULL, 0)) fail("key");
  while (fgets(line, sizeof line, stdin)) {
    if (sscanf(line, "load %3999s", path) == 1) {
      FILE *f = fopen(path, "rb");
      if (!f || fread(data, 1, DATA_BYTES, f) != DATA_BYTES) fail("can't load the data");
      fclose(f);
      printf("ok\n");
    } else if (sscanf(line, "streams %d %3999s", &size, path) == 2) {
      FILE *f = fopen(path, "wb");
      if (!f) fail("can't write the streams");
      compress_all(size);
      for (int i = 0; i < DATA_BYTES / size; i++) {
        uint32_t length = lengths[i];
        fwrite(&length, 4, 1, f);
        fwrite(compressed[i], 1, length, f);
      }
      fclose(f);
      printf("ok\n");
    } else if (sscanf(line, "%15s %d %d", op, &size, &millis) == 3) {
      int whole = !strncmp(op, "enc-", 4) || !strncmp(op, "dec-", 4);
      if (size < BLOCK || size % BLOCK || size > (whole ? MAX_REQUEST : MAX_BLOCK)) fail("size");
      if (!strncmp(op, "xts", 3) && !EVP_CipherInit_ex(cipher, EVP_aes_256_xts(), NULL, key, NULL, op[3] == 'e'))
        fail("key");
      if (!whole) compress_all(size);
      if (!strncmp(op, "dec-", 4)) run(strstr(op, "-xts") ? "enc-xts" : "enc-plain", size);
      run(op, size);
      double start = now(), end;
      long turns = 0;
      do {
        run(op, size);
        turns++;
        end = now();
      } while (end - start < millis * 1e-3);
      long made = 0;
      for (int i = 0; i < DATA_BYTES / size; i++) made += whole ? (long)requests[i].stored : lengths[i];
      printf("%.1f %ld\n", turns * (double)DATA_BYTES / 1e6 / (end - start), made);
    } else {
      fail("unknown command");
    }
    fflush(stdout);
  }
  return 0;
}
