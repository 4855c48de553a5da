/**
 * The AES S-box and its inverse as Boolean circuits, one gate per statement: `+` is XOR, `*` is AND.
 *
 * `middle` (inversion in GF(2^8), 32 AND and 30 XOR) and the forward linear layers (23 and 28 XOR) are those of
 * Boyar, Matthews and Peralta, "Logic Minimization Techniques with Applications to Cryptology", J. Cryptology 26
 * (2013), in the 113-gate form. The inverse's linear layers (23 and 29 XOR) were found with that paper's heuristic
 * for the matrices that result when the affine map is moved to the other side of the same inversion.
 *
 * x0 and s0 are the most significant bits. The constant 0x63 is left out: forward gives S(x) ^ 0x63, inverse
 * gives InvS(y ^ 0x63); the round keys make up for it. test/unit/codec/circuits.test.ts tries all 256 inputs.
 */

const middle = `
t2=y12*y15 t3=y3*y6 t4=t3+t2 t5=y4*y0 t6=t5+t2 t7=y13*y16 t8=y5*y1 t9=t8+t7 t10=y2*y7 t11=t10+t7 t12=y9*y11
t13=y14*y17 t14=t13+t12 t15=y8*y10 t16=t15+t12 t17=t4+y20 t18=t6+t16 t19=t9+t14 t20=t11+t16 t21=t17+t14
t22=t18+y19 t23=t19+y21 t24=t20+y18 t25=t21+t22 t26=t21*t23 t27=t24+t26 t28=t25*t27 t29=t28+t22 t30=t23+t24
t31=t22+t26 t32=t31*t30 t33=t32+t24 t34=t23+t33 t35=t27+t33 t36=t24*t35 t37=t36+t34 t38=t27+t36 t39=t29*t38
t40=t25+t39 t41=t40+t37 t42=t29+t33 t43=t29+t40 t44=t33+t37 t45=t42+t41
z0=t44*y15 z1=t37*y6 z2=t33*y0 z3=t43*y16 z4=t40*y1 z5=t29*y7 z6=t42*y11 z7=t45*y17 z8=t41*y10 z9=t44*y12
z10=t37*y3 z11=t33*y4 z12=t43*y13 z13=t40*y5 z14=t29*y2 z15=t42*y9 z16=t45*y14 z17=t41*y8`;

const forwardTop = `
y14=x3+x5 y13=x0+x6 y9=x0+x3 y8=x0+x5 t0=x1+x2 y1=t0+x7 y4=y1+x3 y12=y13+y14 y2=y1+x0 y5=y1+x6 y3=y5+y8
t1=x4+y12 y15=t1+x5 y20=t1+x1 y6=y15+x7 y10=y15+t0 y11=y20+y9 y7=x7+y11 y17=y10+y11 y19=y10+y8 y16=t0+y11
y21=y13+y16 y18=x0+y16`;

const forwardBottom = `
c1=z15+z16 c2=z10+c1 c3=z9+c2 c4=z0+z2 c5=z1+z0 c6=z3+z4 c7=z12+c4 c8=z7+c6 c9=z8+c7 c10=c8+c9 c11=c6+c5
c12=z3+z5 c13=z13+c1 c14=c4+c12 s3=c3+c11 c16=z6+c8 c17=z14+c10 c18=c13+c14 s7=z12+c18 c20=z15+c16 c21=c2+z11
s0=c3+c16 s6=c10+c18 s4=c14+s3 s1=s3+c16 c26=c17+c20 s2=c26+z17 s5=c21+c17`;

const inverseTop = `
y19=x4+x7 y1=x3+y19 y9=x7+y1 y13=x6+y1 y8=x0+x1 y14=y9+y8 y12=y13+y14 y10=y19+y8 y6=y1+y10 y18=x2+y9 y5=x0+y6
y3=y8+y5 y4=y12+y3 y7=x2+y4 y2=y18+y7 y21=x6+y7 y16=y1+y7 a0=x0+x5 y11=y4+a0 y0=x2+a0 y20=y9+y11 y15=y6+y0
y17=y16+y15`;

const inverseBottom = `
b0=z13+z16 b1=z12+b0 b2=z15+b1 b3=z6+b2 b4=z5+z3 b5=b4+b3 s0=b5+z8 b7=z4+z3 b8=b7+b3 b9=z0+b4 b10=z1+b9
b11=b10+b8 s5=b11+z8 b13=z2+b9 b14=z10+b13 b15=b14+z11 b16=b15+z16 b17=z14+b16 b18=b17+s5 s2=b18+b0 s6=z7+b8
b21=z9+z17 b22=b21+z11 b23=b22+b1 s1=b23+s2 s3=b13+s0 b24=z17+s6 s4=b24+b16 s7=b23+b2`;

/** @returns {{ name: string, left: string, operator: '+' | '*', right: string }[]} */
function parse(text) {
  return text
    .trim()
    .split(/\s+/)
    .map((statement) => {
      const [, name, left, operator, right] = /^(\w+)=(\w+)([+*])(\w+)$/.exec(statement);
      return { name, left, operator, right };
    });
}

/** In the forward direction y0, an input of the inversion, is x7 itself. */
export const forward = parse(`${forwardTop} ${middle} ${forwardBottom}`).map((gate) => ({
  ...gate,
  left: gate.left === 'y0' ? 'x7' : gate.left,
  right: gate.right === 'y0' ? 'x7' : gate.right,
}));

export const inverse = parse(`${inverseTop} ${middle} ${inverseBottom}`);
