/*
 * The native libraries that the codec is measured against, driven by bench/codec.ts line by line:
 *
 *   load PATH         the data, 1 MiB
 *   OP SIZE MILLIS    runs OP over the data in blocks of SIZE for about MILLIS; answers "MB/s bytes-out"
 *   streams SIZE PATH writes liblz4's compressed blocks, each behind its length (u32, little-endian)
 *
 * OP: lz4c lz4d xxh3 xtse xtsd.  cc -O2 codec-peer.c -llz4 -lxxhash -lcrypto
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

static void run(const char *op, int size) {
  int blocks = DATA_BYTES / size;
  if (!strcmp(op, "lz4c")) {
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
      if (size < 4096 || size > MAX_BLOCK) fail("block size");
      if (!strncmp(op, "xts", 3) && !EVP_CipherInit_ex(cipher, EVP_aes_256_xts(), NULL, key, NULL, op[3] == 'e'))
        fail("key");
      compress_all(size);
      run(op, size);
      double start = now(), end;
      long turns = 0;
      do {
        run(op, size);
        turns++;
        end = now();
      } while (end - start < millis * 1e-3);
      long made = 0;
      for (int i = 0; i < DATA_BYTES / size; i++) made += lengths[i];
      printf("%.1f %ld\n", turns * (double)DATA_BYTES / 1e6 / (end - start), made);
    } else {
      fail("unknown command");
    }
    fflush(stdout);
  }
  return 0;
}
