/* certs: the certificates that test/lib/make-certs made, as files of the simulated device. */
#ifndef POSTERN_TEST_CERTS_H
#define POSTERN_TEST_CERTS_H

/* Puts build/certs/NAME onto the sim's disk as /certs/NAME, for all of them. Run from the top of the tree, or
 * with POSTERN_CERTS naming the folder. */
void certs_install(void);

#endif
