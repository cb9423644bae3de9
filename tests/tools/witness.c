/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* A library that does nothing: what cogo-run preloads in its own tests, so
 * that they say nothing about libcogo.so. */
int cogo_run_witness;
